import { Postgres } from './postgres.ts';
import { countRequest } from './runtime.ts';

/** Counts the orders once, like a periodic reporting job. */
export async function start(): Promise<void> {
  const postgres = new Postgres({ host: 'postgres.data', port: 5_432 });
  await postgres.query('SELECT count(*), sum(length(what)) FROM orders');
  countRequest('served');
  postgres.close();
}
