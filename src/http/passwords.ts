import { createHmac, randomBytes } from 'node:crypto';
import { Turns } from '#core/turns.ts';

/** Maximum number of correct passwords that are remembered to avoid hashing them again. */
const KNOWN_MAX = 64;
/** Fraction of a CPU that hashing may use. Up to {@link CPU_SAVED_MS} of unused CPU time is saved for bursts. */
const CPU_SHARE = 0.1;
const CPU_SAVED_MS = 1_000;
/**
 * Maximum time in milliseconds that a request waits for its password to be hashed. It is shorter than Prometheus's
 * default scrape timeout.
 */
const WAIT_MS = 8_000;

/**
 * Hash that is compared for unknown users, so that the response time does not reveal which users exist. Its bcrypt cost
 * is 10, and nobody knows its password.
 */
const NOBODY = '$2b$10$jgNPkwZFjMpGrzYNnQmhWuYrGGZJPBVrkwmfrsHsmOpzNPZQH7xXG';

export type Compare = (password: string, hash: string) => Promise<boolean>;

/**
 * Checks passwords against bcrypt hashes. Hashes one password at a time, with clients taking turns, and uses at most a
 * tenth of a CPU, so that a flood of wrong passwords cannot exhaust the CPUs of the node. Remembers correct passwords.
 */
export class Passwords {
  readonly #users: ReadonlyMap<string, string>;
  readonly #compare: Compare;
  readonly #turns = new Turns(1);
  /** HMAC key for the digests of remembered passwords, so that the digests are useless outside this process. */
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
   * Whether the user exists and the password is correct.
   * @param owner owner of the request; owners take turns
   * @throws {BusyError} if the password was not checked within the maximum waiting time
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

/** Compares a password with a hash. Loads bcryptjs on first use; its hashing yields to the event loop every 100 ms. */
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
