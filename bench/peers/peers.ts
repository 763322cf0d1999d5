import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { nodesOf, remotePods } from '#kubernetes/cluster_objects.ts';
import { formOf } from '#kubernetes/forms.ts';
import { readList } from '#kubernetes/json_stream.ts';
import type { Resource } from '#kubernetes/reflector.ts';
import { AgentProcess } from '../../test/support/agent_process.ts';
import { tableEvent, tableOf } from '../../test/support/api_tables.ts';
import { sampleValue } from '../../test/support/exposition.ts';
import { eventually } from '../../test/support/oracle.ts';
import { cpuMs, median, quantile, type Row, rssAnonOf } from '../measure.ts';
import type { ClusterSize } from './api.ts';
import { fullNode, fullPod } from './objects.ts';

const API = fileURLToPath(new URL('./api.ts', import.meta.url));
const BOOK = fileURLToPath(new URL('./book.ts', import.meta.url));
/** Node.js options in `bin/netsonde` that affect the heap. */
const HEAP_OPTIONS = ['--max-semi-space-size=1', '--expose-gc'];
const OWN_NODE = 'node-0';
const SERVICES = { nodes: 10, services: 5_000, endpointsPerService: 4 } as const;
/** Pods, nodes and Services together have 100,000 addresses. */
const PODS = 94_990;
const LISTED_MS = 900_000;
const SETTLE_MS = 60_000;
const SAMPLES = 15;
const SCRAPES = 40;
const MB = 1e6;
const KB = 1e3;

/** Measures the cost of resolving peers in the whole cluster: memory, bytes from the API server, and scrape time. */
export async function benchPeers(): Promise<Row[]> {
  return [...(await benchBook()), ...(await benchPeerRequests()), ...(await benchPeerAgents())];
}

export async function benchBook(): Promise<Row[]> {
  const book = fork(BOOK, { execArgv: HEAP_OPTIONS });
  const answer = once(book, 'message');
  book.send('start');
  return (await answer)[0] as Row[];
}

/** Compares requests for whole objects with requests for tables, by bytes and by CPU time to read them. */
export async function benchPeerRequests(): Promise<Row[]> {
  const count = 500;
  const pods = Array.from({ length: count }, (_, nth) => fullPod(nth, 'node-1'));
  const nodes = Array.from({ length: count }, (_, nth) => fullNode(nth));
  const rows: Row[] = [];
  const compare = async (what: string, resource: Resource<unknown>, list: object, event: object) => {
    const text = Buffer.from(JSON.stringify(list));
    const form = formOf(resource.keep, resource.table);
    const read = () => {
      const take = (item: unknown) => void resource.trim(form.objectIn(item) as never);
      return readList(chunksOf(text), take, form);
    };
    const costs = await cpuMs(30, read);
    const each = (bytes: number) => bytes / count / KB;
    rows.push(
      { bench: what, what: 'in a list', value: each(text.length), unit: 'kB' },
      { bench: what, what: 'in a change', value: JSON.stringify(event).length / KB, unit: 'kB' },
      {
        bench: what,
        what: 'CPU time of the agent to read it (median)',
        value: (median(costs) * 1_000) / count,
        unit: 'µs',
      },
    );
  };
  const metadata = { resourceVersion: '123456789' };
  const [pod, node] = [pods[0] as (typeof pods)[0], nodes[0] as (typeof nodes)[0]];
  const table = (name: string, objects: typeof pods, include: string) => tableOf(name, metadata, objects, include);
  await compare('a Pod as a whole object', remotePods('whole', 'n'), { metadata, items: pods }, pod);
  await compare(
    'a Pod in a table with metadata',
    remotePods('table', 'n'),
    table('pods', pods, 'Metadata'),
    tableEvent('pods', pod, 'Metadata', false),
  );
  await compare('a node as a whole object', nodesOf('whole', true), { metadata, items: nodes }, node);
  await compare(
    'a node in a table with metadata',
    nodesOf('table', true),
    table('nodes', nodes, 'Metadata'),
    tableEvent('nodes', node, 'Metadata', false),
  );
  await compare(
    'a node in a table without metadata',
    nodesOf('table', false),
    table('nodes', nodes, 'None'),
    tableEvent('nodes', node, 'None', false),
  );
  return rows;
}

async function* chunksOf(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
}

interface Measured {
  /** Anonymous memory in bytes that the agent uses in addition to its memory with `peers: node`. */
  readonly addedBytes: number;
  readonly addresses: number;
  readonly scrapeMs: readonly number[];
  readonly relistScrapeMs: readonly number[];
}

export async function benchPeerAgents(): Promise<Row[]> {
  const rows: Row[] = [];
  const add = (bench: string, { addedBytes, addresses, scrapeMs, relistScrapeMs }: Measured, atMost: number) => {
    rows.push(
      { bench, what: 'addresses', value: addresses, unit: '' },
      {
        bench,
        what: 'RssAnon, in addition to `peers: node`',
        value: addedBytes / MB,
        unit: 'MB',
        bound: { atMost },
      },
      { bench, what: 'scrape (median)', value: median(scrapeMs), unit: 'ms' },
      { bench, what: 'scrape (slowest)', value: Math.max(...scrapeMs), unit: 'ms' },
      { bench, what: 'scrape during a relist (median)', value: median(relistScrapeMs), unit: 'ms' },
      { bench, what: 'scrape during a relist (95 %)', value: quantile(relistScrapeMs, 0.95), unit: 'ms' },
      { bench, what: 'scrape during a relist (slowest)', value: Math.max(...relistScrapeMs), unit: 'ms' },
    );
  };
  const small = { ...SERVICES, pods: 0, isDualStack: false };
  add('peers: services, 5,000 Services, 20,000 endpoints', await measureAgent('services', small, 25_000), 5);
  const large = { ...SERVICES, pods: PODS, isDualStack: false };
  add('peers: cluster, 100,000 addresses, tables', await measureAgent('cluster', large, 99_900), 20);
  return rows;
}

/**
 * Measures the same agent before and after it reads the cluster's objects, because other namespaces on this machine
 * also take memory.
 */
async function measureAgent(peers: string, size: ClusterSize, addresses: number): Promise<Measured> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'bench-peers-'));
  const config = join(folder.path, 'config.yaml');
  writeFileSync(config, 'peers: node\n');
  const api = fork(API, { execArgv: [] });
  try {
    const kubeconfig = await ask(api, size);
    await using agent = await AgentProcess.serve(['--kubernetes', 'on', '--config', config], [], {
      KUBECONFIG: kubeconfig,
      NODE_NAME: OWN_NODE,
    });
    const known = async () => sampleValue(await agent.page(), 'netsonde_peer_addresses', {}) ?? 0;
    await scrapesOf(agent, SCRAPES);
    const before = await settledBytes(agent);
    writeFileSync(config, `peers: ${peers}\n`);
    await eventually(async () => {
      await wait(1_000);
      if (Number(await known()) < addresses) throw new Error(`only ${await known()} addresses are known`);
    }, LISTED_MS);
    const after = await settledBytes(agent);
    const found = Number(await known());
    const scrapeMs = await scrapesOf(agent, SCRAPES);
    const relisted = ask(api, 'relist');
    const relistScrapeMs = await scrapesOf(agent, 2 * SCRAPES);
    await relisted;
    return { addedBytes: after - before, addresses: found, scrapeMs, relistScrapeMs };
  } finally {
    api.disconnect();
    await once(api, 'exit');
  }
}

async function settledBytes(agent: AgentProcess): Promise<number> {
  await wait(SETTLE_MS);
  const samples: number[] = [];
  for (let sample = 0; sample < SAMPLES; sample++) {
    samples.push(rssAnonOf(agent.pid));
    await wait(1_000);
  }
  return median(samples);
}

async function ask(api: ChildProcess, message: ClusterSize | 'relist'): Promise<string> {
  const answer = once(api, 'message');
  api.send(message);
  return String((await answer)[0]);
}

async function scrapesOf(agent: AgentProcess, count: number): Promise<number[]> {
  const times: number[] = [];
  for (let scrape = 0; scrape < count; scrape++) {
    const startMs = performance.now();
    await (await agent.get('/metrics', { 'accept-encoding': 'gzip' })).arrayBuffer();
    times.push(performance.now() - startMs);
    await wait(200);
  }
  return times;
}
