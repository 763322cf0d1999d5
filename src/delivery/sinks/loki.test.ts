import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Files } from '#files/files.ts';
import { makeEvents, makeLines } from '../../../test/support/event_lines.ts';
import { EventWay, parseSinks } from '../../../test/support/event_way.ts';
import type { LokiLimits } from '../../../test/support/loki_limits.ts';
import { LokiServer } from '../../../test/support/loki_server.ts';
import { eventually } from '../../../test/support/oracle.ts';
import type { LaneRecord } from '../record.ts';
import { Unavailable } from '../sink.ts';
import { LokiSink } from './loki.ts';

let loki: LokiServer;

beforeEach(async () => {
  loki = await LokiServer.start();
});

afterEach(async () => {
  await loki[Symbol.asyncDispose]();
});

const sink = (more: object = {}) => ({
  loki: { url: loki.url, batch: { events: 5_000, age: '20ms' }, ...more },
});

/** Checks that Loki contains exactly the records that the ledger counts as delivered, and that the ledger balances. */
function expectExact({ published, delivered, pending, lost }: ReturnType<EventWay['ledger']>): void {
  expect(loki.entries).toHaveLength(delivered);
  expect(delivered + pending + lost).toBe(published);
}

/** Returns events of two streams, first those of `shop`. */
const shopAndBank = (count: number, first = 0) => [
  ...makeEvents(count, { namespace: 'shop' }, first),
  ...makeEvents(count, { namespace: 'bank' }, first),
];

const inShop = (labels: Readonly<Record<string, string>>) => labels['namespace'] === 'shop';

describe('records that Loki takes in the end are all delivered', () => {
  it.each<[string, LokiLimits, RegExp | undefined]>([
    ['a batch above the burst of the tenant', { ingestion: { rate: 1e9, burst: 20_000 } }, /429: Ingestion rate limit/],
    ['a body above the limit', { maxBodyBytes: 20_000 }, undefined],
    [
      'a stream above its rate',
      { perStream: { rate: 40_000, burst: 20_000, of: inShop } },
      /429: entry with timestamp .*per_stream_rate_limit/,
    ],
  ])('%s', async (_, limits, told) => {
    loki.limits = limits;
    await using way = await EventWay.open(sink());
    way.publish(shopAndBank(150));
    const ledger = await way.settled('loki');
    expect(ledger).toMatchObject({ delivered: 300, lost: 0 });
    expectExact(ledger);
    if (told === undefined) expect(way.logged).toEqual([]);
    // Two messages count as the same failure if they differ only in numbers.
    else expect(way.logged).toEqual([expect.stringMatching(told), expect.stringMatching(/^events reach loki again/)]);
    expect(way.status('loki')).toMatchObject({ state: 'running', reason: '' });
  });
});

describe('records that Loki refuses because of its own setup or that of the sink: the sink fails, reports a remedy, and loses nothing', () => {
  it.each<[string, LokiLimits, RegExp, object]>([
    [
      'structured metadata',
      { allowStructuredMetadata: false },
      /400: .*structured metadata.*; set structuredMetadata: false/,
      { structuredMetadata: false },
    ],
    ['no tenant', { authEnabled: true }, /401: no org id; .*tenant/, { tenant: 'team-a' }],
    ['too many labels', { maxLabelNames: 5 }, /400: .*has 6 label names; limit 5; check labels/, { labels: {} }],
  ])('%s', async (_, limits, reason, remedy) => {
    loki.limits = limits;
    await using way = await EventWay.open(sink({ labels: { cluster: 'c1' } }));
    way.publish(shopAndBank(150));
    await eventually(() =>
      expect(way.status('loki')).toMatchObject({
        state: 'failed',
        reason: expect.stringMatching(reason),
        pending: 300,
      }),
    );
    // The sink retries once per stream, not once per record.
    expect(loki.asked).toBeLessThan(9);
    expectExact(way.ledger('loki'));
    await way.apply(sink(remedy));
    const ledger = await way.settled('loki');
    expect(ledger).toMatchObject({ delivered: 300, lost: 0 });
    expectExact(ledger);
  });

  it.each([260, 403])('ingestion that is blocked, with status %i', async (status) => {
    loki.limits = { blocked: { status } };
    await using way = await EventWay.open(sink());
    way.publish(shopAndBank(50));
    await eventually(() =>
      expect(way.status('loki')).toMatchObject({
        state: 'failed',
        reason: expect.stringMatching(/ingestion blocked .*; limits_config.block_ingestion_until is set/),
      }),
    );
    expectExact(way.ledger('loki'));
    loki.limits = {};
    expect(await way.settled('loki')).toMatchObject({ delivered: 100, lost: 0 });
    expectExact(way.ledger('loki'));
  });
});

describe('records that Loki refuses because of their content: dropped alone, and counted', () => {
  const older = (count: number) => makeEvents(count, { time: '2025-12-01T00:00:00.000000000Z', namespace: 'shop' });

  it.each<[string, LokiLimits, readonly ReturnType<typeof makeEvents>[number][], RegExp]>([
    [
      'lines that are too long',
      { maxLineSize: 1_000 },
      makeEvents(3, { message: 'x'.repeat(2_000) }),
      /Max entry size '1000' bytes exceeded/,
    ],
    ['entries that are too old', { oldest: '1767000000000000000' }, older(3), /has timestamp too old/],
    [
      'entries too far behind the newest of their stream',
      { maxChunkAge: 7_200e9 },
      older(3),
      /ignored, reason: 'entry too far behind/,
    ],
    [
      'too much structured metadata',
      { maxStructuredMetadata: 3 },
      makeEvents(3, { pod: 'p', src: 's', dst: 'd' }),
      /too many structured metadata labels: '5'/,
    ],
  ])('%s', async (_, limits, bad, why) => {
    loki.limits = limits;
    await using way = await EventWay.open(sink());
    way.publish(shopAndBank(50));
    await way.settled('loki');
    way.publish([...bad, ...shopAndBank(50, 50)]);
    const ledger = await way.settled('loki');
    expect(ledger).toMatchObject({ delivered: 200, dropped: { rejected: 3 } });
    expectExact(ledger);
    expect(way.status('loki')).toMatchObject({ state: 'running', rejected: { why: expect.stringMatching(why) } });
    expect(way.logged).toEqual([expect.stringMatching(/^loki rejected some events: it returned 400/)]);
  });
});

describe('a stream that Loki refuses', () => {
  it('is not hidden by another one: Loki itself answers 204 to both', async () => {
    loki.limits = { perStream: { rate: 1, burst: 1, of: inShop } };
    const stream = (namespace: string) => ({ stream: { namespace }, values: [['1767225600000000000', 'line']] });
    const both = await fetch(`${loki.url}/loki/api/v1/push`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ streams: [stream('shop'), stream('bank')] }),
    });
    expect([both.status, loki.entries.splice(0).length]).toEqual([204, 1]);
    await using way = await EventWay.open(sink());
    way.publish(shopAndBank(50));
    await eventually(() => expect(way.ledger('loki')).toMatchObject({ delivered: 50, pending: 50 }));
    expectExact(way.ledger('loki'));
    expect(way.status('loki')).toMatchObject({
      state: 'failed',
      reason: expect.stringMatching(/Per stream rate limit/),
    });
    loki.limits = {};
    expectExact(await way.settled('loki'));
  });

  /** Writes to a sink, and retries the remaining records a second later, as the queue does. */
  class Writer {
    readonly rejected: { readonly records: readonly LaneRecord[]; readonly why: string }[] = [];
    readonly #sink: LokiSink;
    #nowMs = 0;
    left: readonly LaneRecord[] = [];
    delivered = 0;

    constructor() {
      const { loki: config } = parseSinks(sink());
      if (config === undefined) throw new Error('no sink');
      this.#sink = new LokiSink(config, new Files(), { now: () => this.#nowMs });
    }

    async write(records: readonly LaneRecord[]): Promise<string> {
      const open = new Set([...this.left, ...records]);
      const close = (settled: readonly LaneRecord[]) => {
        for (const record of settled) open.delete(record);
      };
      this.#nowMs += 1_000;
      try {
        await this.#sink.write(
          [...open],
          {
            delivered: (settled) => {
              close(settled);
              this.delivered += settled.length;
            },
            rejected: (settled, why) => {
              close(settled);
              this.rejected.push({ records: settled, why });
            },
          },
          new AbortController().signal,
        );
        // If a write succeeds, the caller counts all remaining records as delivered, so the sink must have reported
        // each of them.
        expect(open.size).toBe(0);
        return '';
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error;
        return error.message;
      } finally {
        this.left = [...open];
      }
    }

    async [Symbol.asyncDispose](): Promise<void> {
      await this.#sink.close();
    }
  }

  const line = (namespace: string, first: number, message = 'm') => makeLines(1, { namespace, message }, first);

  it.each<[string, LokiLimits, RegExp]>([
    [
      'one more than the tenant may have',
      { maxStreams: 1 },
      /Maximum active stream limit .*; the tenant has too many streams/,
    ],
    ['one whose policy is blocked', { blocked: { status: 260, of: inShop } }, /260: ingestion blocked/],
  ])('does not hold up others, and is given up after a minute: %s', async (_, limits, why) => {
    loki.limits = limits;
    await using writer = new Writer();
    await writer.write(line('bank', 0));
    for (let second = 1; second <= 60; second++) {
      expect(await writer.write([...line('shop', second), ...line('bank', second)])).toMatch(why);
    }
    expect(writer).toMatchObject({ delivered: 61, rejected: [] });
    expect(await writer.write(line('bank', 61))).toBe('');
    expect(writer.rejected).toEqual([
      { records: expect.objectContaining({ length: 60 }), why: expect.stringMatching(why) },
    ]);
    expect(writer.delivered).toBe(62);
    expect(loki.entries).toHaveLength(62);
    // From now on, the sink tries the rejected stream once per batch until Loki accepts it.
    await writer.write([...line('shop', 62), ...line('bank', 62)]);
    expect(writer.rejected).toHaveLength(2);
    loki.limits = {};
    expect(await writer.write(line('shop', 63))).toBe('');
    expect(writer).toMatchObject({ delivered: 64, left: [] });
  });

  it('keeps everything if nothing is taken: the streams are not at fault', async () => {
    loki.limits = { ingestion: { rate: 0, burst: 0 } };
    await using writer = new Writer();
    for (let second = 0; second < 200; second++) await writer.write(second < 10 ? line(`n${second % 3}`, second) : []);
    expect(writer).toMatchObject({ delivered: 0, rejected: [], left: { length: 10 } });
  });

  it('loses only the one record that exceeds the burst of the tenant, when others are taken', async () => {
    loki.limits = { ingestion: { rate: 1e9, burst: 2_000 } };
    await using writer = new Writer();
    await writer.write([...line('shop', 0, 'x'.repeat(3_000)), ...line('shop', 1)]);
    for (let second = 2; second < 70; second++) await writer.write(line('bank', second));
    expect(writer.rejected).toEqual([
      { records: [expect.anything()], why: expect.stringMatching(/Ingestion rate limit/) },
    ]);
    expect(writer.rejected[0]?.records[0]?.bytes).toBeGreaterThan(3_000);
    expect(writer).toMatchObject({ delivered: 69, left: [] });
    expect(loki.entries).toHaveLength(69);
  });
});
