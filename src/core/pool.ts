/**
 * Number of threads in libuv's pool, which resolves names and accesses files. Half of them may hang in file systems (src/files/gate.ts),
 * and the default is only four in all.
 */
const POOL_THREADS = 32;

/** Sets the size of the pool. Call it before anything uses the pool, which reads the size once, with its first work. */
export function sizePool(env: NodeJS.ProcessEnv): void {
  const given = Number(env['UV_THREADPOOL_SIZE'] ?? 0);
  if (!(given >= POOL_THREADS)) env['UV_THREADPOOL_SIZE'] = String(POOL_THREADS);
}
