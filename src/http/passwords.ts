import { createHmac, randomBytes } from 'node:crypto';
import { Turns } from '#core/turns.ts';

/** Number of right passwords that are remembered, and so not hashed again. */
const KNOWN_MAX = 64;
/** Share of a CPU that hashing may take, after one second of it at once. */
const CPU_SHARE = 0.1;
const CPU_SAVED_MS = 1_000;
/** Milliseconds for which a password waits for its turn: less than a scraper waits. */
const WAIT_MS = 8_000;

/** Hash to compare with where there is no such user, so that the duration reveals nothing: of cost ten, and of an unknown password. */
const NOBODY = '$2b$10$jgNPkwZFjMpGrzYNnQmhWuYrGGZJPBVrkwmfrsHsmOpzNPZQH7xXG';

export type Compare = (password: string, hash: string) => Promise<boolean>;

/**
 * Users and their passwords, by hashes of bcrypt. Hashing handles one at a time, addresses take turns, and all together take a tenth of a
 * CPU: a flood of wrong passwords costs no more. A right password is remembered.
 */
export class Passwords {
  readonly #users: ReadonlyMap<string, string>;
  readonly #compare: Compare;
  readonly #turns = new Turns(1);
  /** Key of the remembered passwords, which makes them useless elsewhere. */
  readonly #key = randomBytes(32);
  readonly #known = new Set<string>();
  #savedMs = CPU_SAVED_MS;
  #atMs = performance.now();

  constructor(users: ReadonlyMap<string, string>, compare: Compare = byBcrypt) {
    this.#users = users;
    this.#compare = compare;
  }

  /** Whether no password is needed. */
  get isEmpty(): boolean {
    return this.#users.size === 0;
  }

  /**
   * @param owner owner of the request: those of one owner wait for each other before others wait for them
   * @throws {BusyError} where there was no time for it
   * @throws the reason with which the signal was aborted
   */
  async areRight(user: string, password: string, owner: string, signal: AbortSignal): Promise<boolean> {
    const digest = createHmac('sha256', this.#key)
      .update(JSON.stringify([user, password]))
      .digest('base64');
    if (this.#known.has(digest)) return true;
    const isRight = await this.#turns.run(owner, () => this.#hash(user, password, signal), { signal, waitMs: WAIT_MS });
    if (isRight) this.#remember(digest);
    return isRight;
  }

  async #hash(user: string, password: string, signal: AbortSignal): Promise<boolean> {
    await this.#afford(signal);
    const beganMs = performance.now();
    const hash = this.#users.get(user);
    try {
      return (await this.#compare(password, hash ?? NOBODY)) && hash !== undefined;
    } finally {
      this.#savedMs -= performance.now() - beganMs;
    }
  }

  /** Waits until the budget of CPU time allows another hash. */
  async #afford(signal: AbortSignal): Promise<void> {
    const nowMs = performance.now();
    this.#savedMs = Math.min(CPU_SAVED_MS, this.#savedMs + (nowMs - this.#atMs) * CPU_SHARE);
    this.#atMs = nowMs;
    if (this.#savedMs >= 0) return;
    await new Promise((resolve) => setTimeout(resolve, 1 - this.#savedMs / CPU_SHARE));
    signal.throwIfAborted();
    await this.#afford(signal);
  }

  #remember(digest: string): void {
    this.#known.add(digest);
    const [oldest] = this.#known;
    if (this.#known.size > KNOWN_MAX && oldest !== undefined) this.#known.delete(oldest);
  }
}

/** Loads bcrypt only where there are users. It yields to the event loop every tenth of a second. */
async function byBcrypt(password: string, hash: string): Promise<boolean> {
  const { compare } = await import('bcryptjs');
  return compare(password, hash);
}

/** Returns user and password of `Authorization: Basic` (RFC 7617); undefined where there are none. */
export function basicCredentials(header: string | undefined): readonly [user: string, password: string] | undefined {
  const encoded = /^Basic +([A-Za-z0-9+/]+=*) *$/i.exec(header ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString();
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : [text.slice(0, colon), text.slice(colon + 1)];
}
