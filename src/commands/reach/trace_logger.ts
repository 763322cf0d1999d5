import { existsSync, lstatSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withNetns } from 'bpf-napi';
import * as z from 'zod';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { parseJson } from '../agent_client.ts';
import { pathOf } from '../capture/place.ts';

/** Numbers of the protocol families in the names of the files. */
const FAMILIES = { ipv4: 2, ipv6: 10 } as const;
type Family = (typeof FAMILIES)[keyof typeof FAMILIES];

const SETTING = 'sys/net/netfilter/nf_log';
/** Logger that sends packets to a socket. */
const OURS = 'nfnetlink_log';
/** Holds the loggers that have to be put back. It is writable in a container whose root is not, and empty after a boot. */
const RECORDS = '/dev/shm';
const PREFIX = 'netsonde-nf_log-';
const RECORD_BYTES_MAX = 1_024;
/** Position of the start time in /proc/PID/stat, counted from the state, which follows the name. */
const START_FIELD = 19;

const RECORD = z.object({
  pid: z.number(),
  /** Start time of the process, because its ID may be reused. */
  start: z.string(),
  logger: z.string().regex(/^\w{1,64}$/),
});

/**
 * Makes iptables-legacy send its traces to a socket. The setting of the namespace (net.netfilter.nf_log) outlives this
 * process, so the former one is recorded first. Disposing puts it back; `putBackLoggers` does if the process was killed.
 */
export class TraceLogger implements Disposable {
  readonly #putBack: () => void;

  /**
   * @param path path of the network namespace @param netns its ID
   * @throws if the setting cannot be changed; the message says why
   */
  constructor(path: string, netns: bigint, ip: string) {
    const family = ip.includes(':') ? FAMILIES.ipv6 : FAMILIES.ipv4;
    const former = withNetns(path, () => readLogger(family));
    this.#putBack = () => undefined;
    if (former === OURS) return;
    const record = join(RECORDS, `${PREFIX}${netns}-${family}`);
    const start = startOf(process.pid) ?? '';
    writeRecord(record, JSON.stringify({ pid: process.pid, start, logger: former }));
    this.#putBack = () => {
      withNetns(path, () => writeLogger(family, former));
      rmSync(record, { force: true });
    };
    try {
      withNetns(path, () => writeLogger(family, OURS));
    } catch (error) {
      rmSync(record, { force: true });
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#putBack();
  }
}

/**
 * Puts back the loggers that were changed by processes that were killed. A record that is in use, of another user, or of a
 * namespace that cannot be entered, stays.
 * @returns what was put back, as sentences
 */
export async function putBackLoggers(): Promise<string[]> {
  const told: string[] = [];
  for (const name of existsSync(RECORDS) ? readdirSync(RECORDS) : []) {
    const [, netns = '', family] = /^netsonde-nf_log-(\d{1,20})-(2|10)$/.exec(name) ?? [];
    const file = join(RECORDS, name);
    if (family === undefined || !isOwn(file)) continue;
    const record = RECORD.safeParse(parseJson(readFileSync(file, 'utf8'))).data;
    if (record !== undefined && startOf(record.pid) === record.start) continue;
    try {
      const path = await pathOf(BigInt(netns));
      // A record that is incomplete was not followed by a change, and a setting ends with its namespace.
      if (record !== undefined && path !== undefined) {
        withNetns(path, () => writeLogger(Number(family) as Family, record.logger));
        told.push(`put back net.netfilter.nf_log.${family} = ${record.logger}, which a killed command had changed`);
      }
      rmSync(file, { force: true });
    } catch (error) {
      told.push(`cannot put back net.netfilter.nf_log.${family} = ${record?.logger}: ${(error as Error).message}`);
    }
  }
  return told;
}

function isOwn(file: string): boolean {
  const found = lstatSync(file, { throwIfNoEntry: false });
  return found?.isFile() === true && found.uid === process.getuid?.() && found.size <= RECORD_BYTES_MAX;
}

function writeRecord(file: string, text: string): void {
  try {
    writeFileSync(file, text, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    const isUsed = (error as NodeJS.ErrnoException).code === 'EEXIST';
    throw isUsed ? new Error(`another command traces iptables-legacy there (${file})`) : error;
  }
}

function readLogger(family: Family): string {
  return readFileSync(join(DEFAULT_PATHS.proc, SETTING, String(family)), 'utf8').trim();
}

/**
 * Changes the logger of this thread's namespace. /proc/sys is read-only in most containers, so that of process 1 is tried
 * as well.
 */
function writeLogger(family: Family, logger: string): void {
  const files = [DEFAULT_PATHS.proc, join(DEFAULT_PATHS.proc, '1/root/proc')].map((proc) =>
    join(proc, SETTING, String(family)),
  );
  const failures: unknown[] = [];
  for (const file of files) {
    try {
      writeFileSync(file, logger, { flag: 'r+' });
      return;
    } catch (error) {
      failures.push(error);
    }
  }
  throw failures[0];
}

/** Returns when a process has started, in clock ticks since the boot; undefined if there is no such process. */
function startOf(pid: number): string | undefined {
  const file = join(DEFAULT_PATHS.proc, String(pid), 'stat');
  try {
    return readFileSync(file, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')[START_FIELD];
  } catch {
    return undefined;
  }
}
