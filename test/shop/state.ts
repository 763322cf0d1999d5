import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { eventually } from '../support/oracle.ts';
import { removeCgroup } from './cgroup.ts';

/** Default directory of a shop that is started from the command line. */
export const DEFAULT_FOLDER = join(tmpdir(), 'netsonde-shop');
const STATE = 'state.json';
const LOG = 'shop.log';
const END_MS = 60_000;
const START_MS = 120_000;

/** State of a running shop, as stored in its directory. */
export interface State {
  /** Process that runs the shop, and its start time in clock ticks after boot. */
  readonly pid: number;
  readonly startTime: string;
  readonly cgroup: string;
  /** Whether all parts of the shop have started. */
  readonly isReady: boolean;
  /** URLs of the agents' pages, by node. */
  readonly pages: Readonly<Record<string, string>>;
}

export function socketOf(folder: string): string {
  return join(folder, 'control.sock');
}

export function logOf(folder: string): string {
  return join(folder, LOG);
}

/**
 * Returns the start time of a process in clock ticks after boot (proc_pid_stat(5)); undefined if the process has ended
 * or is a zombie.
 */
export function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return /[ZX]/.test(fields[0] ?? '') ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

export function writeState(folder: string, state: State): void {
  writeFileSync(join(folder, STATE), JSON.stringify(state));
}

/** Reads the state of the shop in a directory; undefined if there is none. */
export function readState(folder: string): State | undefined {
  const file = join(folder, STATE);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as State) : undefined;
}

/** Returns whether the process that runs the shop still exists and its PID has not been reused. */
export function isAlive({ pid, startTime }: State): boolean {
  return startTimeOf(pid) === startTime;
}

/**
 * Waits until a shop has started. @param hasEnded returns whether the process that should start it has ended
 * @throws if it does not start; the error contains its log
 */
export async function waitForShop(folder: string, hasEnded: () => boolean): Promise<State> {
  const look = () => {
    const state = readState(folder);
    if (state?.isReady !== true && !hasEnded()) throw new Error('the shop is not ready');
    return state;
  };
  const state = await eventually(look, START_MS).catch(() => undefined);
  if (state?.isReady === true) return state;
  throw new Error(`the shop does not start:\n${readFileSync(logOf(folder), 'utf8')}`);
}

/**
 * Sends a request to a running shop, and returns the response. @throws if there is no response, or if it is an error
 */
export async function askShop<Result>(folder: string, request: object): Promise<Result> {
  const state = readState(folder);
  if (state === undefined || !isAlive(state)) throw new Error(`no shop runs in ${folder}: start it with \`up\``);
  const socket = connect(socketOf(folder));
  const answer = text(socket);
  socket.end(`${JSON.stringify(request)}\n`);
  const { result, error } = JSON.parse(await answer) as { result: Result; error?: string };
  if (error !== undefined) throw new Error(error);
  return result;
}

/**
 * Ends the shop of a directory, even if its process has already exited, and removes everything that it created. Returns
 * whether there was a shop.
 */
export async function removeShop(folder: string): Promise<boolean> {
  const state = readState(folder);
  if (state === undefined) return false;
  if (isAlive(state)) {
    process.kill(state.pid, 'SIGTERM');
    const gone = () => {
      if (isAlive(state)) throw new Error(`the process ${state.pid} of the shop does not end`);
    };
    await eventually(gone, END_MS).catch(() => {
      if (isAlive(state)) process.kill(state.pid, 'SIGKILL');
    });
  }
  await removeCgroup(state.cgroup);
  rmSync(folder, { recursive: true, force: true });
  return true;
}
