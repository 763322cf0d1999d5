import { guardedAsync } from './errors.ts';
import { native, unavailable } from './native.ts';

/**
 * Locks the open file or folder by this descriptor, and returns whether it has the lock: flock(2), exclusive, without waiting. The lock ends
 * when the descriptor is closed, at the latest with the process.
 * @throws {BpfError} as a rejection: BPF_UNAVAILABLE without the addon, LOCK if the file system has no locks
 */
export function tryLock(fd: number): Promise<boolean> {
  return guardedAsync('LOCK', () => native().tryLock(fd));
}

/**
 * Ends the process at once. exit(3), and so `process.exit()`, waits for the threads of libuv's pool, which may hang in a look-up of
 * a name or in a file system that is gone. Without the addon it is `process.exit()`.
 */
export function exitNow(code: number): never {
  if (unavailable() === undefined) native().exitNow(code);
  process.exit(code);
}
