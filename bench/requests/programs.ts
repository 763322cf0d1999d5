import { BpfStats } from 'bpf-napi';
import { only, probesOf, type TestKernel } from '../../test/support/kernel.ts';
import { median, type Row, spreadOf } from '../measure.ts';
import { attachEmptyPair } from './empty_pair.ts';
import { DIRECTIONS, RunTimes } from './run_times.ts';
import type { Traffic } from './traffic.ts';

const WINDOWS = 5;

/** Run times by design: nanoseconds for each packet, and for a request at both ends. */
interface Designed {
  readonly sent?: number;
  readonly received?: number;
  readonly request?: number;
}

interface Load {
  readonly what: string;
  readonly probe: 'http' | 'dns';
  /** Sends requests, and returns their number. */
  readonly play: (traffic: Traffic) => Promise<number>;
  readonly designed: Designed;
}

/** Factor by which the programs may exceed the figures of the design. */
const TOLERANCE = 1.3;

const LOADS: readonly Load[] = [
  {
    what: 'HTTP/1.1, kept connections, 40 bytes of headers',
    probe: 'http',
    play: async (traffic) => (await traffic.play('kept', 30_000)).requests,
    designed: { sent: 465, received: 420, request: 1_770 },
  },
  {
    what: 'HTTP/1.1, kept connections, 850 bytes of headers with traceparent',
    probe: 'http',
    play: async (traffic) => (await traffic.play('browser', 20_000)).requests,
    designed: { request: 2_640 },
  },
  {
    what: 'HTTP/1.1, a connection for each request',
    probe: 'http',
    play: async (traffic) => (await traffic.play('short', 10_000)).requests,
    designed: {},
  },
  {
    what: 'HTTP/2, 10 streams, a twelfth of the responses with 100 kB',
    probe: 'http',
    play: async (traffic) => traffic.http2(3_000),
    designed: {},
  },
  {
    what: 'gRPC, 16 calls at a time, a sixth of them streams of 60 kB',
    probe: 'http',
    play: async (traffic) => traffic.grpc(2_000),
    designed: { request: 5_000 },
  },
  {
    what: 'Redis, whose connections are not read',
    probe: 'http',
    play: async (traffic) => (await traffic.play('redis', 30_000)).requests,
    designed: { sent: 117, received: 74, request: 408 },
  },
  {
    what: 'DNS over UDP',
    probe: 'dns',
    play: (traffic) => traffic.dns(15_000),
    designed: { sent: 298, received: 251, request: 1_100 },
  },
];

/** Measures the run time of the programs of `http` and `dns` for each packet, and for each request at both ends. */
export async function measurePrograms(agent: TestKernel, file: string, traffic: Traffic): Promise<Row[]> {
  using _stats = new BpfStats();
  using pair = await attachEmptyPair(file);
  const empty = [pair];
  const rows: Row[] = [];
  for (const { what, probe, play, designed } of LOADS) {
    await agent.kernel.configure(probesOf(only({ [probe]: { enabled: true } })));
    await play(traffic);
    const windows: { readonly times: RunTimes; readonly requests: number }[] = [];
    for (let window = 0; window < WINDOWS; window++) {
      const before = RunTimes.of(agent, empty);
      const requests = await play(traffic);
      windows.push({ times: RunTimes.of(agent, empty).since(before), requests });
    }
    const bench = `requests: ${what}`;
    const add = (name: string, values: readonly number[], limit?: number) =>
      rows.push({
        bench,
        what: name,
        value: median(values),
        unit: 'ns',
        spread: spreadOf(values),
        ...(limit === undefined ? {} : { bound: { atMost: Math.round(limit * TOLERANCE) } }),
      });
    for (const direction of DIRECTIONS) {
      const base = median(windows.map(({ times }) => times.each(`empty_${direction}`)));
      const each = windows.map(({ times }) => times.each(`l7_${direction}`));
      add(`a packet ${direction}; an empty program took ${base.toFixed(0)} ns`, each, designed[direction]);
    }
    const packets = median(
      windows.map(({ times, requests }) => (times.of('l7_sent').runs + times.of('l7_received').runs) / requests),
    );
    const all = windows.map(({ times, requests }) => times.nanoseconds / requests);
    add(`a request at both ends, with ${packets.toFixed(1)} packets`, all, designed.request);
  }
  return rows;
}
