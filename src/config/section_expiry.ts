import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import type { Files } from '#files/files.ts';
import type { TimedSection } from './document.ts';
import { ConfigError, pathText } from './faults.ts';

const FILE = 'timed.json';
/** Maximum size of the state file. It is twice the size that the maximum number of sections needs. */
const FILE_BYTES_MAX = 64 * 1024;

/** Expiry times in milliseconds, keyed by the ID of the section. */
const ENDS = z.record(z.string().regex(/^[0-9a-f]{64}$/), z.int().nonnegative());

const STATE = z.strictObject({
  version: z.literal(1),
  /** Milliseconds since the epoch. */
  ends: ENDS,
  /**
   * Expiry times in milliseconds since the boot with this ID, for sections with `for`. Absent in files that older
   * agents wrote.
   */
  boot: z.strictObject({ id: z.string(), ends: ENDS }).exactOptional(),
});

/**
 * Differences of less than this many milliseconds between the wall clock and the monotonic clock are ignored as jitter.
 */
const JITTER_MS = 1_000;
const BOOT_ID = 'sys/kernel/random/boot_id';
const NANOSECONDS_PER_MS = 1e6;

export interface SectionExpiryOptions {
  /** Directory that survives a restart of the agent. It is created when there is something to save. */
  readonly directory: string;
  readonly files: Files;
  readonly warn: (message: string) => void;
  /** Mount point of procfs, which contains the boot ID. */
  readonly proc: string;
  /** Milliseconds since the epoch. */
  readonly wall?: () => number;
  /** Milliseconds since boot, from a monotonic clock. */
  readonly monotonic?: () => number;
}

interface End {
  /** Milliseconds since the epoch. */
  readonly wallMs: number;
  /** Milliseconds since boot; undefined for `until`, which follows the wall clock. */
  readonly bootMs: number | undefined;
}

interface Kept {
  /** Milliseconds since the epoch. */
  readonly ends: ReadonlyMap<string, number>;
  /** Expiry times in milliseconds since boot; empty if the file is from an earlier boot. */
  readonly bootEnds: ReadonlyMap<string, number>;
}

const NOTHING_KEPT: Kept = { ends: new Map(), bootEnds: new Map() };

/**
 * Tracks when each timed section expires. `until` follows the wall clock. `for` follows CLOCK_MONOTONIC, which starts
 * at boot (clock_gettime(2)). `for` starts when the section first becomes active. A state file preserves the expiry
 * times when the agent restarts. After a reboot, the remaining time is computed from the wall clock, and is never
 * longer than `for`. If the file cannot be written, `for` starts again when the agent restarts.
 */
export class SectionExpiry {
  readonly #path: string;
  readonly #directory: string;
  readonly #files: Files;
  readonly #warn: (message: string) => void;
  readonly #wall: () => number;
  readonly #monotonic: () => number;
  readonly #bootId: string;
  /** Content of the state file when the agent started. It applies only to the first document. */
  #kept: Kept;
  #ends: ReadonlyMap<string, End> = new Map();
  /**
   * Text that this run of the agent last wrote to the state file; empty if the file has no sections, undefined if an
   * earlier run wrote the file.
   */
  #written: string | undefined;
  /** Whether the next document is the first one. The first document may have been active before the agent started. */
  #isFirst = true;

  private constructor(options: SectionExpiryOptions, bootId: string, kept: Kept) {
    const { directory, files, warn, wall = Date.now, monotonic = sinceBootMs } = options;
    this.#directory = directory;
    this.#path = join(directory, FILE);
    this.#files = files;
    this.#warn = warn;
    this.#wall = wall;
    this.#monotonic = monotonic;
    this.#bootId = bootId;
    this.#kept = kept;
    if (kept.ends.size === 0) this.#written = '';
  }

  /** Reads the state file. A damaged file is reported and ignored. */
  static async open(options: SectionExpiryOptions): Promise<SectionExpiry> {
    const bootId = await readBootId(options.proc);
    return new SectionExpiry(options, bootId, await readKept(options, bootId));
  }

  /**
   * Starts to track the timed sections of a document that becomes active.
   * @throws {ConfigError} if a section has already expired, in which case nothing changes. The first document is
   * exempt, because it may have been active before the agent started.
   */
  async take(sections: readonly TimedSection[]): Promise<void> {
    const now = this.#wall();
    const ends = new Map<string, End>();
    const past: TimedSection[] = [];
    for (const section of sections) {
      const { id, end } = section;
      if ('untilMs' in end) {
        if (end.untilMs <= now && !this.#ends.has(id) && !this.#kept.ends.has(id)) past.push(section);
        ends.set(id, { wallMs: end.untilMs, bootMs: undefined });
      } else ends.set(id, this.#shownAs(this.#ends.get(id) ?? this.#firstEnd(id, end.forMs)));
    }
    if (past.length > 0 && !this.#isFirst) throw pastError(past, now);
    for (const { path } of past) this.#warn(`${pathText(path)}: expired before the agent started`);
    this.#isFirst = false;
    this.#kept = NOTHING_KEPT;
    this.#ends = ends;
    await this.#write();
  }

  /**
   * Returns when a section expires, in milliseconds since the epoch according to the current wall clock; undefined if
   * unknown.
   */
  endOf({ id }: TimedSection): number | undefined {
    const end = this.#ends.get(id);
    return end === undefined ? undefined : this.#shownAs(end).wallMs;
  }

  /** Returns the remaining time in milliseconds. It is at most 0 once the section has expired. */
  leftOf({ id }: TimedSection): number {
    const end = this.#ends.get(id);
    return end === undefined ? Number.POSITIVE_INFINITY : this.#left(end);
  }

  isOver(section: TimedSection): boolean {
    return this.leftOf(section) <= 0;
  }

  #left({ wallMs, bootMs }: End): number {
    return bootMs === undefined ? wallMs - this.#wall() : bootMs - this.#monotonic();
  }

  /** Returns the expiry time of a section with `for` that this run of the agent has not seen before. */
  #firstEnd(id: string, forMs: number): End {
    const wall = this.#wall();
    const monotonic = this.#monotonic();
    const kept = this.#kept.ends.get(id);
    if (kept === undefined) return { wallMs: wall + forMs, bootMs: Math.ceil(monotonic + forMs) };
    const left = (this.#kept.bootEnds.get(id) ?? kept - wall + monotonic) - monotonic;
    // Neither a step of the wall clock nor a damaged file may extend `for`.
    return { wallMs: kept, bootMs: Math.ceil(monotonic + Math.min(left, forMs)) };
  }

  /**
   * Recomputes the wall-clock time at which a section with `for` expires, if the wall clock was stepped. Ignores jitter
   * between the wall clock and the monotonic clock.
   */
  #shownAs(end: End): End {
    const wallMs = Math.round(this.#wall() + this.#left(end));
    return Math.abs(wallMs - end.wallMs) < JITTER_MS ? end : { ...end, wallMs };
  }

  /** Writes the state file atomically if its content has changed. */
  async #write(): Promise<void> {
    const text = this.#text();
    if (text === this.#written) return;
    try {
      await this.#files.makeFolder(this.#directory);
      await this.#files.replace(this.#path, text);
      this.#written = text;
    } catch (error) {
      this.#warn(
        `cannot write ${this.#path} (${(error as Error).message}), so \`for\` starts again when the agent restarts; set --state to a writable directory`,
      );
    }
  }

  #text(): string {
    if (this.#ends.size === 0 && this.#written === '') return '';
    const bootEnds = [...this.#ends].flatMap(([id, { bootMs }]) =>
      bootMs === undefined ? [] : [[id, Math.max(0, bootMs)]],
    );
    return `${JSON.stringify({
      version: 1,
      ends: Object.fromEntries([...this.#ends].map(([id, { wallMs }]) => [id, Math.max(0, wallMs)])),
      boot: { id: this.#bootId, ends: Object.fromEntries(bootEnds) },
    })}\n`;
  }
}

/** Returns the error for sections whose `until` is in the past. */
export function pastError(sections: readonly TimedSection[], now: number): ConfigError {
  return new ConfigError(
    sections.map(({ path, end }) => ({
      path: pathText([...path, 'until']),
      value: 'untilMs' in end ? JSON.stringify(new Date(end.untilMs).toISOString()) : '',
      allowed: `a time in the future; it is ${new Date(now).toISOString()} now`,
    })),
  );
}

/**
 * Returns the time of CLOCK_MONOTONIC in milliseconds (libuv, src/unix/posix-hrtime.c). The clock starts at boot, so
 * its values stay valid when the agent restarts.
 */
function sinceBootMs(): number {
  return Number(process.hrtime.bigint()) / NANOSECONDS_PER_MS;
}

/** Returns the boot ID (random(4)), or an empty string if it cannot be read. */
async function readBootId(proc: string): Promise<string> {
  return readFile(join(proc, BOOT_ID), 'latin1').then(
    (text) => text.trim(),
    () => '',
  );
}

async function readKept({ directory, files, warn }: SectionExpiryOptions, bootId: string): Promise<Kept> {
  const path = join(directory, FILE);
  const ignored = (why: string): Kept => {
    warn(`${path} is ignored because ${why}; \`for\` starts again now`);
    return NOTHING_KEPT;
  };
  try {
    const text = await files.readText(path, FILE_BYTES_MAX);
    const state = STATE.safeParse(JSON.parse(text));
    if (!state.success) return ignored('it is damaged');
    const { ends, boot } = state.data;
    const isSameBoot = bootId !== '' && boot?.id === bootId;
    return { ends: new Map(Object.entries(ends)), bootEnds: new Map(isSameBoot ? Object.entries(boot.ends) : []) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return NOTHING_KEPT;
    return ignored(error instanceof SyntaxError ? 'it is damaged' : (error as Error).message.replace(path, 'it'));
  }
}
