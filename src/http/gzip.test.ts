import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { gzip } from './gzip.ts';

const STAYS = new AbortController().signal;

it('gives what gunzip takes, as one member, however it is cut', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 5_000 }), { maxLength: 6 }), async (chunks) => {
      const packed = Buffer.concat(await gzip(chunks, STAYS));
      expect(gunzipSync(packed)).toEqual(Buffer.concat(chunks));
    }),
    { numRuns: 50 },
  );
});

it('a page of repeated lines becomes a tenth, and ends early where nobody waits for it', async () => {
  const chunk = Buffer.from('netsonde_tcp_retransmits_total{namespace="shop",pod="cart-0"} 12345\n'.repeat(4_000));
  const pieces = await gzip([chunk, chunk], STAYS);
  expect(Buffer.concat(pieces).length).toBeLessThan(chunk.length / 5);
  expect(await gzip([chunk, chunk], AbortSignal.abort())).toHaveLength(1);
});
