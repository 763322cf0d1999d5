import { Postgres } from './postgres.ts';
import { onFault } from './runtime.ts';
import { serve } from './web.ts';

/** Writes orders into the database. */
export async function start(): Promise<void> {
  const postgres = new Postgres({ host: 'postgres.data', port: 5_432 });
  const open = () =>
    serve(8_080, async (_, body) => {
      const [row] = await postgres.query(`INSERT INTO orders (what) VALUES ('${quoted(body)}') RETURNING id`);
      return row?.[0] ?? '';
    });
  let listener = open();
  onFault('refused', (on) => {
    listener = listener.then((server) => {
      if (on) server.close();
      return on ? server : open();
    });
  });
  await listener;
}

function quoted(text: string): string {
  return text.replaceAll("'", "''");
}
