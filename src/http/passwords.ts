import { createHmac, randomBytes } from 'node:crypto';
import { Turns } from '#core/turns.ts';

/** Number of correct passwords to remember, which are not hashed again. */
const KNOWN_MAX = 64;
/** Share of a CPU that hashing may use, with a burst of {@link CPU_SAVED_MS}. */
const CPU_SHARE = 0.1;
const CPU_SAVED_MS = 1_000;
/** Milliseconds that a password waits for its turn; less than the timeout of a scraper. */
const WAIT_MS = 8_000;

/** Hash for users that do not exist, so that the response time does not reveal them. It has cost 10 and an unknown password. */
const NOBODY = '$2b$10$jgNPkwZFjMpGrzYNnQmhWuYrGGZJPBVrkwmfrsHsmOpzNPZQH7xXG';

export type Compare = (password: string, hash: string) => Promise<boolean>;

/**
 * Checks passwords against bcrypt hashes. Hashes one password at a time, with clients taking turns, and uses at most a tenth
 * of a CPU, so that a flood of wrong passwords cannot use up the node. Remembers correct passwords.
 */
export class Passwords {
  readonly #users: ReadonlyMap<string, string>;
  readonly #compare: Compare;
  readonly #turns = new Turns(1);
  /** HMAC key of the remembered passwords, so that their digests are useless outside of this process. */
  readonly #key = randomBytes(32);
  readonly #known = new Set<string>();
  #savedMs = CPU_SAVED_MS;
  #atMs = performance.now();

  constructor(users: ReadonlyMap<string, string>, compare: Compare = byBcrypt) {
    this.#users = users;
    this.#compare = compare;
  }

  /** Whether there are no users, so that no password is required. */
  get isEmpty(): boolean {
    return this.#users.size === 0;
  }

  /**
   * @param owner owner of the request; the passwords of one owner wait for each other
   * @throws {BusyError} if the turn did not come in time
   * @throws the signal's reason if it is aborted
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

  /** Waits until the CPU budget allows another hash. */
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

/** Loads bcrypt on first use. It yields to the event loop every 100 ms. */
async function byBcrypt(password: string, hash: string): Promise<boolean> {
  const { compare } = await import('bcryptjs');
  return compare(password, hash);
}

/** Returns the user and password of a Basic `Authorization` header (RFC 7617); undefined if there are none. */
export function basicCredentials(header: string | undefined): readonly [user: string, password: string] | undefined {
  const encoded = /^Basic +([A-Za-z0-9+/]+=*) *$/i.exec(header ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString();
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : [text.slice(0, colon), text.slice(colon + 1)];
}
