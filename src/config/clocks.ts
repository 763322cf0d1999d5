import { mkdir, open, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import type { TimedSection } from './document.ts';
import { ConfigError, pathText } from './faults.ts';

const FILE = 'timed.json';
/** Twice what all the sections of a document take. */
const FILE_BYTES_MAX = 64 * 1024;

const STATE = z.strictObject({
  version: z.literal(1),
  /** By id of the section: milliseconds since the epoch. */
  ends: z.record(z.string().regex(/^[0-9a-f]{64}$/), z.int().nonnegative()),
});

export interface ClocksOptions {
  /** Folder that survives a restart of the agent. Made when there is something to keep. */
  readonly directory: string;
  readonly warn: (message: string) => void;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

/**
 * When each timed section ends, by the wall clock. What `for` says counts from when the section was first in force, so it
 * is kept in a file: a restart of the agent changes nothing. Where that cannot be written it counts from the agent's start.
 */
export class Clocks {
  readonly #path: string;
  readonly #directory: string;
  readonly #warn: (message: string) => void;
  readonly #now: () => number;
  #ends: ReadonlyMap<string, number>;
  #written: string;
  /** The first document may be one that was written long ago. */
  #isFirst = true;

  private constructor({ directory, warn, now = Date.now }: ClocksOptions, ends: ReadonlyMap<string, number>) {
    this.#directory = directory;
    this.#path = join(directory, FILE);
    this.#warn = warn;
    this.#now = now;
    this.#ends = ends;
    this.#written = textOf(ends);
  }

  /** A damaged file is told of, and taken for none. */
  static async open(options: ClocksOptions): Promise<Clocks> {
    return new Clocks(options, await readEnds(join(options.directory, FILE), options.warn));
  }

  /**
   * Takes the timed sections of a document that is to be in force.
   * @throws {ConfigError} where one ends before it begins; then nothing has changed. Not for the first document, which may
   * have been in force before the agent started.
   */
  async take(sections: readonly TimedSection[]): Promise<void> {
    const now = this.#now();
    const ends = new Map<string, number>();
    const past: TimedSection[] = [];
    for (const section of sections) {
      const { id, end } = section;
      const before = this.#ends.get(id);
      if ('untilMs' in end) {
        if (end.untilMs <= now && before === undefined) past.push(section);
        ends.set(id, end.untilMs);
      } else {
        // A clock that was set back must not make it longer.
        ends.set(id, Math.min(before ?? Number.POSITIVE_INFINITY, now + end.forMs));
      }
    }
    if (past.length > 0 && !this.#isFirst) throw pastError(past, now);
    for (const { path } of past) this.#warn(`${pathText(path)}: its time was over before the agent started`);
    this.#isFirst = false;
    this.#ends = ends;
    await this.#write();
  }

  endOf({ id }: TimedSection): number | undefined {
    return this.#ends.get(id);
  }

  isOver(section: TimedSection): boolean {
    return (this.endOf(section) ?? Number.POSITIVE_INFINITY) <= this.#now();
  }

  /** Written whole or not at all. */
  async #write(): Promise<void> {
    const text = textOf(this.#ends);
    if (text === this.#written) return;
    try {
      await makeDirectory(this.#directory);
      const temporary = `${this.#path}.tmp`;
      {
        await using file = await open(temporary, 'w', 0o600);
        await file.writeFile(text);
        await file.sync();
      }
      await rename(temporary, this.#path);
      this.#written = text;
    } catch (error) {
      this.#warn(
        `${this.#path} cannot be written (${(error as Error).message}): after a restart of the agent \`for\` counts anew; give a folder with --state`,
      );
    }
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

/** Below one that is there: to make all of them hangs in Node.js where the file system says that there is none (/proc). */
async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

function textOf(ends: ReadonlyMap<string, number>): string {
  return `${JSON.stringify({ version: 1, ends: Object.fromEntries(ends) })}\n`;
}

async function readEnds(path: string, warn: (message: string) => void): Promise<ReadonlyMap<string, number>> {
  const ignored = (why: string) => {
    warn(`${path} is ignored: ${why}; \`for\` counts from now`);
    return new Map<string, number>();
  };
  try {
    const { size } = await stat(path);
    if (size > FILE_BYTES_MAX) return ignored(`it has ${size} bytes, more than ${FILE_BYTES_MAX}`);
    const text = await readFile(path, 'utf8');
    const state = STATE.safeParse(JSON.parse(text));
    return state.success ? new Map(Object.entries(state.data.ends)) : ignored('it is damaged');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
    return ignored(error instanceof SyntaxError ? 'it is damaged' : (error as Error).message);
  }
}
