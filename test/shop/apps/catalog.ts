import { Postgres } from './postgres.ts';
import { Redis } from './redis.ts';
import { hasFault } from './runtime.ts';
import { serve } from './web.ts';

/** Number of responses from the cache for each response from the database. */
const CACHED = 4;
const QUERY = 'SELECT name, repeat(name, 30) FROM products ORDER BY id';
const SLOW_QUERY = 'SELECT name, repeat(name, 30) FROM products, pg_sleep(1.2) ORDER BY id';

/** Serves the list of products from the database or the cache. */
export async function start(): Promise<void> {
  const postgres = new Postgres({ host: 'postgres.data', port: 5_432 });
  const redis = new Redis('redis.data');
  let answers = 0;
  await serve(8_080, async () => {
    const cached = answers++ % (CACHED + 1) === 0 ? null : await redis.send(['GET', 'products']);
    if (typeof cached === 'string') return cached;
    const rows = await postgres.query(hasFault('slow-query') ? SLOW_QUERY : QUERY);
    const products = JSON.stringify(rows.map(([name, text]) => ({ name, text })));
    await redis.send(['SET', 'products', products]);
    return products;
  });
}
