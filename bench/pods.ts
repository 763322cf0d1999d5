import { spawn } from 'node:child_process';
import { setTimeout as wait } from 'node:timers/promises';
import { constants, gzipSync } from 'node:zlib';
import type { PeerIdentity } from '#probe/peer_identity.ts';
import { UNKNOWN_PEER } from '#probe/peers.ts';
import { TestKernel } from '../test/support/kernel.ts';
import { BUSY_CONFIG, BUSY_POD } from './busy_pods.ts';
import { cpuMs, median, type Row } from './measure.ts';

export const PODS = 110;
const PROCESSES = 20;
const SOCKETS = 50;
const RUNS = 60;
/** Time during which the agent repeats its scans after a new namespace appears. */
const YOUNG_MS = 11_000;

/**
 * Opens ten sockets that listen or use UDP. The remaining sockets are the two ends of connections over the loopback
 * device.
 */
const POD = `
import os, signal, socket, sys, time
held = [socket.create_server(('127.0.0.1', 0), backlog=100) for _ in range(5)]
held += [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(5)]
for number in range((${SOCKETS} - 10) // 2):
    held.append(socket.create_connection(held[number % 5].getsockname()))
    held.append(held[number % 5].accept()[0])
for _ in range(${PROCESSES} - 1):
    if os.fork() == 0:
        signal.pause()
print('ready', flush=True)
signal.pause()
`;

/**
 * Creates as many namespaces as a full node has, with processes and sockets in each. Disposing of the result removes
 * the namespaces.
 * @param program Python program that runs in each namespace and prints `ready`; POD_NUMBER counts from 1
 */
export async function createPods(program = POD): Promise<AsyncDisposable> {
  const script = `for i in $(seq ${PODS}); do POD_NUMBER=$i unshare -n sh -c 'ip link set lo up; exec python3 -c "$POD"' & done; wait`;
  const shell = spawn('sh', ['-c', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
    env: { ...process.env, POD: program },
  });
  const gone = new Promise((resolve) => shell.once('exit', resolve));
  let ready = 0;
  await new Promise<void>((resolve) => {
    shell.stdout.on('data', (data) => {
      ready += String(data).split('ready').length - 1;
      if (ready === PODS) resolve();
    });
  });
  return {
    [Symbol.asyncDispose]: async () => {
      // The shell was started with `detached`, so it leads a process group that contains all of its children.
      process.kill(-(shell.pid ?? 0), 'SIGKILL');
      await gone;
    },
  };
}

/** Measures the CPU time of each step of a scrape on a full node, with and without BPF walks. */
export async function benchPods(): Promise<Row[]> {
  return [...(await idlePods()), ...(await talkingPods())];
}

async function idlePods(): Promise<Row[]> {
  await using _pods = await createPods();
  const bench = `${PODS} Pods, ${PROCESSES} processes and ${SOCKETS} sockets each`;
  return [
    ...(await measure(bench, '', {}, 12)),
    ...(await measure(bench, ', both walks off', { objects: '/nonexistent' }, undefined)),
  ];
}

/** Measures the probes whose cost depends on the number of peers. */
async function talkingPods(): Promise<Row[]> {
  await using _pods = await createPods(BUSY_POD);
  const peers = new Map<string, PeerIdentity>();
  const identify = (ip: string): PeerIdentity => {
    const known = peers.get(ip) ?? { ...UNKNOWN_PEER, kind: 'external', name: ip };
    peers.set(ip, known);
    return known;
  };
  await using agent = await TestKernel.open(JSON.stringify({ ...BUSY_CONFIG, probes: { udpflow: true } }), {
    identify,
  });
  await wait(YOUNG_MS);
  const bench = `${PODS} busy Pods, three of them with 500 peers`;
  const times = await byProbe(agent, bench, '');
  const { named } = await agent.page();
  return [
    ...times.filter(({ what }) => /^(?:flow|udpflow|tcpconnect|tcpsummary) /.test(what)),
    { bench, what: 'kernel rows of flow', value: Number(named.get('netsonde_flow_rows')?.[0]?.value), unit: '' },
  ];
}

async function measure(
  bench: string,
  suffix: string,
  options: { objects?: string },
  collectMs: number | undefined,
): Promise<Row[]> {
  await using agent = await TestKernel.open('{}', options);
  const { kernel } = agent;
  await wait(YOUNG_MS);
  const collect = () => kernel.collect();
  await cpuMs(RUNS / 3, collect);
  const collected = median(await cpuMs(RUNS, collect));
  const rows: Row[] = [
    {
      bench,
      what: `all default probes collected${suffix}, CPU (median)`,
      value: collected,
      unit: 'ms',
      ...(collectMs === undefined ? {} : { bound: { atMost: collectMs } }),
    },
  ];
  rows.push(...(await byProbe(agent, bench, suffix)));
  if (collectMs === undefined) return rows;
  const render = () => kernel.render('text');
  await cpuMs(RUNS / 3, render);
  const page = Buffer.concat(await render());
  const gzip = () => gzipSync(page, { level: constants.Z_BEST_SPEED });
  rows.push(
    {
      bench,
      what: 'rendered, CPU (median)',
      value: median(await cpuMs(RUNS, render)),
      unit: 'ms',
      bound: { atMost: 10 },
    },
    {
      bench,
      what: 'compressed, level 1, CPU (median)',
      value: median(await cpuMs(RUNS, gzip)),
      unit: 'ms',
      bound: { atMost: 10 },
    },
    { bench, what: 'series', value: (await agent.page()).samples.length, unit: '' },
    { bench, what: 'page', value: page.length / 1024, unit: 'KiB' },
  );
  return rows;
}

/** Measures the elapsed time of each probe, which includes other work on the event loop. */
async function byProbe({ kernel }: TestKernel, bench: string, suffix: string): Promise<Row[]> {
  const times = new Map<string, number[]>();
  for (let run = 0; run < RUNS; run++) {
    await kernel.collect();
    for (const { name, collectSeconds } of kernel.probes()) {
      if (collectSeconds !== null) times.set(name, [...(times.get(name) ?? []), collectSeconds * 1000]);
    }
  }
  return [...times].map(([name, values]) => ({
    bench,
    what: `${name}${suffix} (median)`,
    value: median(values),
    unit: 'ms',
  }));
}
