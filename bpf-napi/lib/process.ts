import { guardedAsync } from './errors.ts';
import { native, unavailable } from './native.ts';

/**
 * Tries to lock the file or directory behind a descriptor (flock(2), exclusive, without waiting). Returns whether the
 * lock was acquired. The lock is released when the descriptor is closed, and at the latest when the process ends.
 * @throws {BpfError} as a rejection: BPF_UNAVAILABLE without the addon, LOCK if the file system does not support locks
 */
export function tryLock(fd: number): Promise<boolean> {
  return guardedAsync('LOCK', () => native().tryLock(fd));
}

/**
 * Ends the process immediately. Unlike exit(3) and `process.exit()`, does not wait for the threads of libuv's pool,
 * which may hang in a name look-up or an unreachable file system. Without the addon, calls `process.exit()`.
 */
export function exitNow(code: number): never {
  if (unavailable() === undefined) native().exitNow(code);
  process.exit(code);
}
