import { guardedAsync } from './errors.ts';
import { native, unavailable } from './native.ts';

/**
 * Tries to lock an open file or directory (flock(2), exclusive, without waiting). Returns whether the lock was
 * acquired. The lock is released when the descriptor is closed, or when the process ends.
 * @throws {BpfError} as a rejection: BPF_UNAVAILABLE without the addon, LOCK if the file system does not support locks
 */
export function tryLock(fd: number): Promise<boolean> {
  return guardedAsync('LOCK', () => native().tryLock(fd));
}

/**
 * Ends the process immediately. Unlike exit(3) and `process.exit()`, does not wait for the threads in libuv's pool,
 * which may be blocked by a name lookup or an unreachable file system. Calls `process.exit()` if there is no addon.
 */
export function exitNow(code: number): never {
  if (unavailable() === undefined) native().exitNow(code);
  process.exit(code);
}
