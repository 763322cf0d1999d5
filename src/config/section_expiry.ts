import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import type { Files } from '#files/files.ts';
import type { TimedSection } from './document.ts';
import { ConfigError, pathText } from './faults.ts';

const FILE = 'timed.json';
/** Twice the bytes that all sections of a document take. */
const FILE_BYTES_MAX = 64 * 1024;

/** Milliseconds, by id of the section. */
const ENDS = z.record(z.string().regex(/^[0-9a-f]{64}$/), z.int().nonnegative());

const STATE = z.strictObject({
  version: z.literal(1),
  /** Milliseconds since the epoch. */
  ends: ENDS,
  /** Milliseconds since the boot of this id, for sections with `for`. Files of older agents lack it. */
  boot: z.strictObject({ id: z.string(), ends: ENDS }).exactOptional(),
});

/** Differences between two clocks up to this are ignored as jitter, in milliseconds. */
const JITTER_MS = 1_000;
const BOOT_ID = 'sys/kernel/random/boot_id';
const NANOSECONDS_PER_MS = 1e6;

export interface SectionExpiryOptions {
  /** Folder that survives a restart of the agent. It is made when there is something to keep. */
  readonly directory: string;
  readonly files: Files;
  readonly warn: (message: string) => void;
  /** Where procfs is mounted: it has the id of the boot. */
  readonly proc: string;
  /** Milliseconds since the epoch. */
  readonly wall?: () => number;
  /** Milliseconds since the boot, by a monotonic clock. */
  readonly monotonic?: () => number;
}

interface End {
  /** Milliseconds since the epoch. */
  readonly wallMs: number;
  /** Milliseconds since the boot; undefined for `until`, which is a time of the wall clock. */
  readonly bootMs: number | undefined;
}

interface Kept {
  readonly ends: ReadonlyMap<string, number>;
  /** Id of this boot. */
  readonly bootEnds: ReadonlyMap<string, number>;
}

const NOTHING_KEPT: Kept = { ends: new Map(), bootEnds: new Map() };

/**
 * Knows when each timed section ends: `until` by the wall clock, `for` by the monotonic clock that runs since the boot
 * (CLOCK_MONOTONIC, clock_gettime(2)). The time of `for` counts from when the section was first active, so it is kept in a
 * file: a restart of the agent changes nothing. After a reboot only the wall clock can tell how much is left, and it is
 * never more than `for`. Where the file cannot be written, `for` counts from the agent's start.
 */
export class SectionExpiry {
  readonly #path: string;
  readonly #directory: string;
  readonly #files: Files;
  readonly #warn: (message: string) => void;
  readonly #wall: () => number;
  readonly #monotonic: () => number;
  readonly #bootId: string;
  /** Content of the file at the start, for sections that were not seen since. */
  #kept: Kept;
  #ends: ReadonlyMap<string, End> = new Map();
  /** Text of the file; empty where there is none, undefined where an earlier run wrote it. */
  #written: string | undefined;
  /** The first document may have been written long ago. */
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

  /** A damaged file is reported, and counts as missing. */
  static async open(options: SectionExpiryOptions): Promise<SectionExpiry> {
    const bootId = await readBootId(options.proc);
    return new SectionExpiry(options, bootId, await readKept(options, bootId));
  }

  /**
   * Takes the timed sections of a document that becomes active.
   * @throws {ConfigError} where a section ends before it begins; nothing has changed then. The first document is exempt,
   * since it may have been active before the agent started.
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
    for (const { path } of past) this.#warn(`${pathText(path)}: its time had passed before the agent started`);
    this.#isFirst = false;
    this.#kept = NOTHING_KEPT;
    this.#ends = ends;
    await this.#write();
  }

  /**
   * Returns the end by the present wall clock, in milliseconds since the epoch; undefined for a section that was not taken.
   */
  endOf({ id }: TimedSection): number | undefined {
    const end = this.#ends.get(id);
    return end === undefined ? undefined : this.#shownAs(end).wallMs;
  }

  /** Returns milliseconds; 0 or less once it is over. */
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

  /** Returns the end of a section that is new to this run of the agent. */
  #firstEnd(id: string, forMs: number): End {
    const wall = this.#wall();
    const monotonic = this.#monotonic();
    const kept = this.#kept.ends.get(id);
    if (kept === undefined) return { wallMs: wall + forMs, bootMs: Math.ceil(monotonic + forMs) };
    const left = (this.#kept.bootEnds.get(id) ?? kept - wall + monotonic) - monotonic;
    // Neither another clock nor a damaged file makes it longer.
    return { wallMs: kept, bootMs: Math.ceil(monotonic + Math.min(left, forMs)) };
  }

  /** Returns the end as it is shown: after the wall clock was set it is another time of that clock; jitter does not move it. */
  #shownAs(end: End): End {
    const wallMs = Math.round(this.#wall() + this.#left(end));
    return Math.abs(wallMs - end.wallMs) < JITTER_MS ? end : { ...end, wallMs };
  }

  /** Written as a whole or not at all. */
  async #write(): Promise<void> {
    const text = this.#text();
    if (text === this.#written) return;
    try {
      await this.#files.makeFolder(this.#directory);
      await this.#files.replace(this.#path, text);
      this.#written = text;
    } catch (error) {
      this.#warn(
        `${this.#path} cannot be written (${(error as Error).message}): after a restart of the agent \`for\` starts again; give a folder with --state`,
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

/** @throws {ConfigError} */
export function pastError(sections: readonly TimedSection[], now: number): ConfigError {
  return new ConfigError(
    sections.map(({ path, end }) => ({
      path: pathText([...path, 'until']),
      value: 'untilMs' in end ? JSON.stringify(new Date(end.untilMs).toISOString()) : '',
      allowed: `a time in the future; it is ${new Date(now).toISOString()} now`,
    })),
  );
}

/** CLOCK_MONOTONIC: it starts at the boot, and is the same for the next process (src/unix/posix-hrtime.c of libuv). */
function sinceBootMs(): number {
  return Number(process.hrtime.bigint()) / NANOSECONDS_PER_MS;
}

/** Returns an empty text where it cannot be read: no kept end belongs to this boot then (random(4)). */
async function readBootId(proc: string): Promise<string> {
  return readFile(join(proc, BOOT_ID), 'latin1').then(
    (text) => text.trim(),
    () => '',
  );
}

async function readKept({ directory, files, warn }: SectionExpiryOptions, bootId: string): Promise<Kept> {
  const path = join(directory, FILE);
  const ignored = (why: string): Kept => {
    warn(`${path} is ignored: ${why}; \`for\` counts from now`);
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
