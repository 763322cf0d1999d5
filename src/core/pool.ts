/**
 * Threads of libuv's pool, which looks up names and works on files. Half of them may hang in file systems (src/files/gate.ts): by
 * default there are four in all.
 */
const POOL_THREADS = 32;

/** Before anything uses the pool: it reads this once, when its first work comes. */
export function sizePool(env: NodeJS.ProcessEnv): void {
  const given = Number(env['UV_THREADPOOL_SIZE'] ?? 0);
  if (!(given >= POOL_THREADS)) env['UV_THREADPOOL_SIZE'] = String(POOL_THREADS);
}
