/** Causes of rejected requests and closed connections. */
export const REFUSAL_CAUSES = [
  'connections',
  'pipelined',
  'unread',
  'silent',
  'malformed',
  'busy',
  'followers',
  'site',
  'host',
  'address',
  'token',
  'password',
  'certificate',
  'tls',
] as const;
export type RefusalCause = (typeof REFUSAL_CAUSES)[number];

/** Counts rejections since the agent started. */
export class Refusals {
  readonly #counts = new Map<RefusalCause, number>(REFUSAL_CAUSES.map((cause) => [cause, 0]));

  count(cause: RefusalCause): void {
    this.#counts.set(cause, (this.#counts.get(cause) ?? 0) + 1);
  }

  get counts(): ReadonlyMap<RefusalCause, number> {
    return this.#counts;
  }
}
