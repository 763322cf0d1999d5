import { gunzipSync, gzipSync, type InflateRaw, inflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { freeCycle } from '#core/cycle.ts';
import { deflate, gzipMember, textOf } from './gzip.ts';

const CYCLE = freeCycle();
const TEXT = fc.array(fc.uint8Array({ maxLength: 5_000 }), { maxLength: 6 });
/** Result of zlib with the option `info`. `bytesWritten` is the number of consumed input bytes. */
interface Inflated {
  readonly buffer: Buffer;
  readonly engine: InflateRaw;
}
const LINE = 'netsonde_tcp_retransmits_total{namespace="shop",pod="cart-0"} 12345\n';

it('gives a member that gunzip accepts, with the checksum and the length of the whole, for any split of both texts', async () => {
  await fc.assert(
    fc.asyncProperty(TEXT, TEXT, async (first, second) => {
      const deflated = await deflate(second, CYCLE);
      expect(Buffer.concat(textOf(deflated))).toEqual(Buffer.concat(second));
      const whole = Buffer.concat([...first, ...second]);
      const member = gzipMember(first, deflated);
      expect(gunzipSync(member)).toEqual(whole);
      expect(member.slice(-8)).toEqual(Uint8Array.from(gzipSync(whole).subarray(-8)));
    }),
    { numRuns: 100 },
  );
});

it('is one member: a reader that stops after the first stream has all of it', async () => {
  const first = Buffer.from('# the first\n'.repeat(500));
  const second = Buffer.from(LINE.repeat(8_000));
  const member = gzipMember([first], await deflate([second.subarray(0, 300_000), second.subarray(300_000)], CYCLE));
  const streamed = inflateRawSync(member.subarray(10), { info: true }) as unknown as Inflated;
  expect(streamed.buffer).toEqual(Buffer.concat([first, second]));
  expect(streamed.engine.bytesWritten).toBe(member.length - 10 - 8);
});

it('a page of repeated lines becomes a tenth, in memory that can be transferred', async () => {
  const chunk = Buffer.from(LINE.repeat(4_000));
  const { bytes, length } = await deflate([chunk, chunk], CYCLE);
  expect(length).toBe(2 * chunk.length);
  expect(bytes.length).toBeLessThan(length / 10);
  expect(bytes.buffer.byteLength).toBe(bytes.length);
});

it('ends if the pause throws', async () => {
  let pauses = 0;
  const pause = async () => {
    pauses++;
    throw new Error('nobody waits');
  };
  await expect(deflate([Buffer.from(LINE), Buffer.from(LINE)], { pause })).rejects.toThrow('nobody waits');
  expect(pauses).toBe(1);
});
