import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Lane } from '#agent/lane.ts';
import { Ledger } from '#delivery/ledger.ts';
import { pushBody, streamsOf } from '#delivery/sinks/loki.ts';
import { RecordBus } from '#events/bus.ts';
import { EVENT_KIND } from '#events/event_kind.ts';
import { INCIDENT_KIND } from '#events/incident_kind.ts';
import { PROBES } from '#probes/index.ts';
import { DEFAULT_PORT_RANGE } from '#sources/procfs/port_range.ts';
import { AgentProcess } from '../test/support/agent_process.ts';
import { makeEvents } from '../test/support/event_lines.ts';
import { dropUdp } from '../test/support/event_rate.ts';
import { HostPair } from '../test/support/hosts.ts';
import { LokiServer } from '../test/support/loki_server.ts';
import { median, type Row } from './measure.ts';

const EVENTS = 20_000;
const BATCH = 500;
const RUNS = 20;
const SECONDS = 20;
const TICKS_PER_SECOND = 100;

/**
 * Measures the CPU time per event, from the kernel thread to a push request, and the CPU use of the whole agent at 100
 * events per second.
 */
export async function benchEvents(): Promise<Row[]> {
  return [...benchPipeline(), ...(await benchAgent())];
}

function benchPipeline(): Row[] {
  const bus = new RecordBus(EVENT_KIND);
  bus.historyMax = 1_000;
  using lane = new Lane({
    node: 'n',
    probes: PROBES,
    ephemeral: DEFAULT_PORT_RANGE,
    ledger: new Ledger(),
    bus,
    incidents: new RecordBus(INCIDENT_KIND),
    peers: () => undefined,
    deliver: (records) => {
      for (const stream of streamsOf(records)) pushBody(stream.records, {}, true);
    },
  });
  lane.configure({ limit: 100_000, foldMs: 5_000, foldBy: 'connection', history: 1_000 });
  const costs: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    // The events differ and come from many Pods, so none is folded or limited.
    const events = makeEvents(EVENTS).map((event, index) => ({
      ...event,
      namespace: 'shop',
      pod: `cart-${index % 100}`,
      src: `10.${run}.0.1:${index}`,
      dst: '10.0.0.2:53',
      reason: 'NETFILTER_DROP',
      hint: 'A rule of nftables or iptables dropped the packet: nft list ruleset.',
      symbol: 'nft_do_chain+0x5d2/0x610 [nf_tables]',
    }));
    const start = process.cpuUsage();
    for (let at = 0; at < EVENTS; at += BATCH) lane.receive(events.slice(at, at + BATCH));
    const { user, system } = process.cpuUsage(start);
    costs.push((user + system) / EVENTS);
    lane.configure({ limit: 100_000, foldMs: 0, foldBy: 'connection', history: 1_000 });
    lane.configure({ limit: 100_000, foldMs: 5_000, foldBy: 'connection', history: 1_000 });
  }
  return [
    {
      bench: 'different events, folded, limited, made text and a push',
      what: 'CPU per event, main thread (median)',
      value: median(costs),
      unit: 'µs',
      bound: { atMost: 50 },
    },
  ];
}

async function benchAgent(): Promise<Row[]> {
  await using pair = await HostPair.create();
  dropUdp(pair);
  await using loki = await LokiServer.start();
  await using folder = await mkdtempDisposable(join(tmpdir(), 'bench-'));
  const config = join(folder.path, 'config.yaml');
  writeFileSync(config, JSON.stringify({ sinks: { loki: { url: loki.url } } }));
  await using agent = await AgentProcess.serve(['--config', config]);
  await wait(3_000);
  const idle = await shareOf(agent.pid, async () => undefined);
  // The ten datagrams have different source ports, so their events are not folded.
  const busy = await shareOf(agent.pid, async () => {
    for (let count = 0; count < 10; count++) {
      await pair.a.udpSend({ address: pair.addressB.ipv4, port: 7001, count: 1, bytes: 9 });
    }
  });
  const mine = loki.entries.filter(({ metadata }) => metadata['pod'] === pair.b.netns.name).length;
  const bench = `the agent with Loki, ${Math.round(mine / SECONDS)} events a second`;
  return [
    {
      bench,
      what: 'CPU beyond that without events, of a core',
      value: (busy - idle) * 100,
      unit: '%',
      bound: { atMost: 1 },
    },
    { bench, what: 'CPU without events, of a core', value: idle * 100, unit: '%' },
  ];
}

/** Runs `act` every 100 ms, and returns the share of one core that the process uses meanwhile. */
async function shareOf(pid: number, act: () => Promise<void>): Promise<number> {
  const before = cpuSeconds(pid);
  const startMs = performance.now();
  for (let tick = 1; tick <= SECONDS * 10; tick++) {
    await act();
    await wait(Math.max(0, startMs + tick * 100 - performance.now()));
  }
  return (cpuSeconds(pid) - before) / ((performance.now() - startMs) / 1_000);
}

/** Returns the CPU time of a process in seconds, which is the sum of utime and stime (man 5 proc). */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}
