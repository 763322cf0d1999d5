import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import type { Files } from '#files/files.ts';
import type { TimedSection } from './document.ts';
import { ConfigError, pathText } from './faults.ts';

const FILE = 'timed.json';
/** Twice what all the sections of a document take. */
const FILE_BYTES_MAX = 64 * 1024;

/** By id of the section, in milliseconds. */
const ENDS = z.record(z.string().regex(/^[0-9a-f]{64}$/), z.int().nonnegative());

const STATE = z.strictObject({
  version: z.literal(1),
  /** Since the epoch. */
  ends: ENDS,
  /** Of sections with `for`: since the boot of this id. A file of an older agent has none. */
  boot: z.strictObject({ id: z.string(), ends: ENDS }).exactOptional(),
});

/** Differences of two clocks within this are taken for jitter, milliseconds. */
const JITTER_MS = 1_000;
const BOOT_ID = 'sys/kernel/random/boot_id';
const NANOSECONDS_PER_MS = 1e6;

export interface ClocksOptions {
  /** Folder that survives a restart of the agent. Made when there is something to keep. */
  readonly directory: string;
  readonly files: Files;
  readonly warn: (message: string) => void;
  /** Where procfs is mounted: it names the boot. */
  readonly proc: string;
  /** Milliseconds since the epoch. */
  readonly wall?: () => number;
  /** Milliseconds since the boot, by a clock that nobody sets. */
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
  /** Of this boot. */
  readonly bootEnds: ReadonlyMap<string, number>;
}

const NOTHING_KEPT: Kept = { ends: new Map(), bootEnds: new Map() };

/**
 * When each timed section ends: `until` by the wall clock, `for` by the clock that runs since the boot and that nobody sets
 * (CLOCK_MONOTONIC, clock_gettime(2)). What `for` says counts from when the section was first in force, so it is kept in a
 * file: a restart of the agent changes nothing. After a reboot only the wall clock can tell what is left, and it is never
 * more than `for`. Where the file cannot be written, `for` counts from the agent's start.
 */
export class Clocks {
  readonly #path: string;
  readonly #directory: string;
  readonly #files: Files;
  readonly #warn: (message: string) => void;
  readonly #wall: () => number;
  readonly #monotonic: () => number;
  readonly #bootId: string;
  /** What the file said at the start, for sections that were not seen since. */
  #kept: Kept;
  #ends: ReadonlyMap<string, End> = new Map();
  /** Text of the file; empty where there is none, undefined where it is an earlier run's. */
  #written: string | undefined;
  /** The first document may be one that was written long ago. */
  #isFirst = true;

  private constructor(options: ClocksOptions, bootId: string, kept: Kept) {
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

  /** A damaged file is told of, and taken for none. */
  static async open(options: ClocksOptions): Promise<Clocks> {
    const bootId = await readBootId(options.proc);
    return new Clocks(options, bootId, await readKept(options, bootId));
  }

  /**
   * Takes the timed sections of a document that is to be in force.
   * @throws {ConfigError} where one ends before it begins; then nothing has changed. Not for the first document, which may
   * have been in force before the agent started.
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
    for (const { path } of past) this.#warn(`${pathText(path)}: its time was over before the agent started`);
    this.#isFirst = false;
    this.#kept = NOTHING_KEPT;
    this.#ends = ends;
    await this.#write();
  }

  /** By the wall clock as it is set now, in milliseconds since the epoch; undefined for a section that was not taken. */
  endOf({ id }: TimedSection): number | undefined {
    const end = this.#ends.get(id);
    return end === undefined ? undefined : this.#shownAs(end).wallMs;
  }

  /** Milliseconds; 0 or less once it is over. */
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

  /** Of a section that is new to this run of the agent. */
  #firstEnd(id: string, forMs: number): End {
    const wall = this.#wall();
    const monotonic = this.#monotonic();
    const kept = this.#kept.ends.get(id);
    if (kept === undefined) return { wallMs: wall + forMs, bootMs: Math.ceil(monotonic + forMs) };
    const left = (this.#kept.bootEnds.get(id) ?? kept - wall + monotonic) - monotonic;
    // Neither another clock nor a damaged file makes it longer.
    return { wallMs: kept, bootMs: Math.ceil(monotonic + Math.min(left, forMs)) };
  }

  /** Where the wall clock was set the end is another time of it; jitter does not move it. */
  #shownAs(end: End): End {
    const wallMs = Math.round(this.#wall() + this.#left(end));
    return Math.abs(wallMs - end.wallMs) < JITTER_MS ? end : { ...end, wallMs };
  }

  /** Written whole or not at all. */
  async #write(): Promise<void> {
    const text = this.#text();
    if (text === this.#written) return;
    try {
      await this.#files.makeFolder(this.#directory);
      await this.#files.replace(this.#path, text);
      this.#written = text;
    } catch (error) {
      this.#warn(
        `${this.#path} cannot be written (${(error as Error).message}): after a restart of the agent \`for\` counts anew; give a folder with --state`,
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
      allowed: `a time to come; it is ${new Date(now).toISOString()} now`,
    })),
  );
}

/** CLOCK_MONOTONIC: its zero is the boot, also for the next process (src/unix/posix-hrtime.c of libuv). */
function sinceBootMs(): number {
  return Number(process.hrtime.bigint()) / NANOSECONDS_PER_MS;
}

/** Empty where it cannot be read: then no kept end is of this boot (random(4)). */
async function readBootId(proc: string): Promise<string> {
  return readFile(join(proc, BOOT_ID), 'latin1').then(
    (text) => text.trim(),
    () => '',
  );
}

async function readKept({ directory, files, warn }: ClocksOptions, bootId: string): Promise<Kept> {
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
