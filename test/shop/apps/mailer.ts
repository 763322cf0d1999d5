import { setTimeout as wait } from 'node:timers/promises';
import { Postgres } from './postgres.ts';
import { Redis } from './redis.ts';
import { countRequest } from './runtime.ts';

const WAIT_SECONDS = 20;
const PAUSE_MS = 1_000;

/** Takes emails from the queue, and marks their orders as sent. No Service selects this program's Pod. */
export async function start(): Promise<void> {
  const postgres = new Postgres({ host: 'postgres.data', port: 5_432 });
  const redis = new Redis('redis.data');
  void work(postgres, redis);
}

async function work(postgres: Postgres, redis: Redis): Promise<never> {
  for (;;) {
    try {
      const mail = await redis.send(['BRPOP', 'mails', `${WAIT_SECONDS}`], WAIT_SECONDS * 1_000);
      if (!Array.isArray(mail)) continue;
      await postgres.query(`UPDATE orders SET sent = true WHERE id = ${Number(mail[1])}`);
      countRequest('served');
    } catch {
      countRequest('failed');
      await wait(PAUSE_MS);
    }
  }
}
