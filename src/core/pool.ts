/**
 * Number of threads in libuv's pool, which resolves host names and accesses files. The default of 4 is too small,
 * because half of the threads may hang in file systems (src/files/gate.ts).
 */
const POOL_THREADS = 32;

/**
 * Sets the size of libuv's thread pool, unless the environment sets a larger one. Must be called before the pool is
 * first used, because libuv reads the size only once.
 */
export function sizePool(env: NodeJS.ProcessEnv): void {
  const given = Number(env['UV_THREADPOOL_SIZE'] ?? 0);
  if (!(given >= POOL_THREADS)) env['UV_THREADPOOL_SIZE'] = String(POOL_THREADS);
}
