import { type ApiSession, errorOf } from './api.ts';
import { Call } from './call.ts';

export type Verb = 'list' | 'watch';

export interface RequestsOptions {
  readonly session: ApiSession;
  /** Media type of the response; undefined for the default of the server. */
  readonly accept: string | undefined;
  /** Maximum time in milliseconds until the response begins, and until an error response is complete. */
  readonly answerMs: number;
  /** Aborts all requests. */
  readonly signal: AbortSignal;
}

/** Maximum number of pairs of verb and status that are counted. */
const CODES_MAX = 64;

/** Sends the requests of a reflector, and counts them by verb and status. */
export class Requests {
  readonly #options: RequestsOptions;
  readonly #counts = new Map<string, number>();

  constructor(options: RequestsOptions) {
    this.#options = options;
  }

  /** Number of requests by verb and status, separated by a space. */
  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  /** Sends a list or watch request. @throws {ApiError} for any status other than 200 */
  async send(verb: Verb, path: string): Promise<Call> {
    const { session, accept, answerMs, signal } = this.#options;
    const call = new Call(signal);
    try {
      const request = { method: 'GET', path, ...(accept && { accept }), signal: call.signal } as const;
      call.response = await call.within(session.request(request), answerMs, 'does not respond');
      this.count(verb, String(call.response.status));
      if (call.response.status !== 200) {
        throw await call.within(errorOf(call.response), answerMs, 'does not finish its response');
      }
      return call;
    } catch (error) {
      if (call.response === undefined) this.count(verb, 'error');
      await call[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** @param code status, or `error` if there was no response */
  count(verb: Verb, code: string): void {
    const key = `${verb} ${code}`;
    if (this.#counts.size < CODES_MAX || this.#counts.has(key)) {
      this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    }
  }
}
