/**
 * Size of libuv's thread pool, which resolves host names and accesses files. The default of 4 is too small, because half of
 * the threads may hang in file systems (src/files/gate.ts).
 */
const POOL_THREADS = 32;

/** Sets the size of the pool. Must be called before the first use of the pool, which reads the size once. */
export function sizePool(env: NodeJS.ProcessEnv): void {
  const given = Number(env['UV_THREADPOOL_SIZE'] ?? 0);
  if (!(given >= POOL_THREADS)) env['UV_THREADPOOL_SIZE'] = String(POOL_THREADS);
}
