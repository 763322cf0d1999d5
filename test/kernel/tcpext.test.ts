import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MetricDescriptor } from '#probe/metric.ts';
import { tcpext } from '#probes/tcpext/tcpext.ts';
import { CountedPair, expectNstat, ofPod } from '../support/counters.ts';
import type { HostPair } from '../support/hosts.ts';
import { only } from '../support/kernel.ts';

let resources: CountedPair;
let pair: HostPair;

beforeAll(async () => {
  resources = await CountedPair.create(only({ tcpext: { fields: 'all' } }, { detail: 'full' }));
  ({ pair } = resources);
});

afterAll(() => resources?.[Symbol.asyncDispose]());

describe.each([
  ['the sender', () => pair.a],
  ['the receiver', () => pair.b],
])('%s', (_, hostOf) => {
  it('tcpext equals nstat in every field of this kernel', async () => {
    const host = hostOf();
    const single = Object.values<MetricDescriptor>(tcpext.metrics).filter(
      ({ labels, unit }) => Object.keys(labels).length === 0 && unit !== 'seconds',
    );
    const both = await expectNstat(resources, host, single);
    const { page } = both;
    const expected = new Map([...both.expected].filter(([name]) => name.startsWith('TcpExt')));
    expect(expected.size).toBeGreaterThan(100);
    const seen = new Set(single.map(({ mib }) => mib?.slice(0, 2).join('')));
    const compare = (field: string, value: number | undefined) => {
      seen.add(`TcpExt${field}`);
      expect(value, field).toBe(expected.get(`TcpExt${field}`));
    };
    for (const { name, labels, value } of page.samples) {
      if (labels['pod'] !== host.netns.name) continue;
      if (name === 'netsonde_tcpext_fields_total') compare(labels['field'] ?? '', Number(value));
    }
    const byCause = {
      close: 'OnClose',
      data: 'OnData',
      failed: 'Failed',
      linger: 'OnLinger',
      memory: 'OnMemory',
      timeout: 'OnTimeout',
    };
    for (const [cause, field] of Object.entries(byCause)) {
      compare(`TCPAbort${field}`, ofPod(page, host, 'netsonde_tcp_aborts_total', { cause }));
    }
    const skipped = {
      syn_recv: 'SynRecv',
      paws: 'PAWS',
      seq: 'Seq',
      fin_wait2: 'FinWait2',
      time_wait: 'TimeWait',
      challenge: 'Challenge',
    };
    for (const [cause, field] of Object.entries(skipped)) {
      compare(`TCPACKSkipped${field}`, ofPod(page, host, 'netsonde_tcp_acks_skipped_total', { cause }));
    }
    const chrono = ofPod(page, host, 'netsonde_tcp_memory_pressure_seconds_total') ?? Number.NaN;
    compare('TCPMemoryPressuresChrono', chrono * 1000);
    expect([...expected.keys()].filter((name) => !seen.has(name))).toEqual([]);
  });
});
