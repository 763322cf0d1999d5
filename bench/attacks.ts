import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { SinksReport } from '#api/sinks.ts';
import { AgentProcess } from '../test/support/agent_process.ts';
import { CGROUP_V1, TestPod } from '../test/support/cgroups.ts';
import { sh } from '../test/support/command.ts';
import type { Exposition } from '../test/support/exposition.ts';
import { TestNetns } from '../test/support/hosts.ts';
import { ManyNetns } from '../test/support/many_netns.ts';
import { NamespaceFlood } from '../test/support/namespace_flood.ts';
import { eventually } from '../test/support/oracle.ts';
import { FreesOracle } from '../test/support/orderly/frees.ts';
import { ThreadTimes } from './lived/threads.ts';
import type { Row } from './measure.ts';

const NEIGHBORS = 110;
const FLOOD = 4_500;
const STORM = 500;
const ATTACK_MS = 20_000;
const LOOK_EVERY_MS = 250;
/** The victim loses a packet with each look; a scrape is asked for with each of so many. */
const SCRAPE_EVERY = 8;
/** Memory is back within it. */
const AFTER_MS = 60_000;
const READY_MS = 120_000;
/** No network of the machine has such a second byte. */
const NO_SUBNET = [255, 255] as const;

/** Every packet that the kernel frees unused is in one of them. */
const FREES = ['netsonde_packet_drops_total', 'netsonde_packet_discards_total'];

interface Scene {
  readonly agent: AgentProcess;
  readonly folder: string;
  readonly config: string;
  /** Ends with the attack. */
  readonly resources: AsyncDisposableStack;
}

interface Attack {
  readonly name: string;
  /** Begins it; the packets that it loses are in the namespaces that it returns. */
  readonly begin: (scene: Scene) => Promise<ReadonlySet<number>>;
}

const ROUTES = ['/metrics', '/', '/api/v1/entities', '/api/v1/trouble', '/api/v1/events?follow=false', '/nothing'];

/** Sends, and takes nothing. */
function send({ agent, resources }: Scene, text: string): void {
  const { hostname, port } = new URL(agent.url ?? '');
  const socket: Socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  socket.pause();
  socket.write(text);
  resources.defer(() => void socket.destroy());
}

async function flood(scene: Scene, count: number, isNested: boolean, rounds: number): Promise<ReadonlySet<number>> {
  const pod = scene.resources.use(new TestPod(CGROUP_V1));
  const namespaces = scene.resources.use(await NamespaceFlood.make(count, pod.container, isNested));
  const endMs = performance.now() + ATTACK_MS;
  const losing = (async () => {
    for (let round = 0; round < rounds && performance.now() < endMs; round++) await namespaces.lose();
  })();
  scene.resources.defer(() => losing);
  return namespaces.inums;
}

const ATTACKS: readonly Attack[] = [
  {
    name: 'answers that nobody takes',
    begin: async (scene) => {
      for (const path of ROUTES) send(scene, `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`.repeat(1_000));
      for (let index = 0; index < 1_000; index++) send(scene, 'GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n');
      return new Set();
    },
  },
  { name: `${FLOOD} namespaces of one Pod`, begin: (scene) => flood(scene, FLOOD, false, 2) },
  { name: `${FLOOD} namespaces of a user without rights`, begin: (scene) => flood(scene, FLOOD, true, 2) },
  { name: 'drops without end in 500 namespaces', begin: (scene) => flood(scene, STORM, false, 10_000) },
  {
    name: 'a spool that is scribbled on',
    begin: async ({ folder, resources }) => {
      const spool = join(folder, 'spool');
      const scribble = setInterval(() => {
        for (const name of readdirSync(spool)) {
          const path = join(spool, name);
          if (!name.endsWith('.jsonl')) continue;
          const bytes = readFileSync(path);
          for (let at = 0; at < bytes.length; at += 97) bytes[at] = at % 256;
          writeFileSync(path, bytes);
        }
      }, LOOK_EVERY_MS);
      resources.defer(() => clearInterval(scribble));
      return new Set();
    },
  },
  {
    name: 'a configuration that is a pipe',
    begin: async ({ config }) => {
      rmSync(config);
      sh(`mkfifo ${config}`);
      return new Set();
    },
  },
];

/** What hostile Pods, clients and files cost the agent and its other users, at full scale; each attack has an agent of its own. */
export async function benchAttacks(): Promise<Row[]> {
  await using many = await ManyNetns.create(NEIGHBORS);
  const rows: Row[] = [];
  for (const attack of ATTACKS) rows.push(...(await measure(attack, many)));
  return rows;
}

async function measure(attack: Attack, many: ManyNetns): Promise<Row[]> {
  // One for each: the kernel gives the numbers of namespaces that have gone to new ones.
  using oracle = await FreesOracle.open(NO_SUBNET);
  await using held = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), 'attacks-'));
  held.defer(() => rmSync(folder, { recursive: true, force: true }));
  const config = join(folder, 'config.yaml');
  // Nobody listens there: what is sent is spooled.
  const loki = { url: 'http://127.0.0.1:9', batch: { age: '0s' }, spool: { directory: join(folder, 'spool') } };
  writeFileSync(config, JSON.stringify({ events: { fold: '0s' }, sinks: { stdout: {}, loki } }));
  using victim = new TestNetns();
  victim.ip('link set lo up');
  const agent = held.use(await AgentProcess.serve(['--config', config]));
  await eventually(async () => {
    if ((await agent.get('/readyz')).status !== 200) throw new Error('not ready');
  }, READY_MS);
  await many.use();
  for (let scrapes = 0; scrapes < 20; scrapes++) {
    await agent.page();
    await wait(LOOK_EVERY_MS);
  }
  // Owners of new namespaces are looked for meanwhile.
  await wait(11_000);
  const before = await agent.page();
  const bytesBefore = (await (await agent.get('/metrics')).text()).length;
  const rssBefore = residentKiB(agent);
  const usedBefore = ThreadTimes.of(agent.pid);
  const looks: Look[] = [];
  let inums: ReadonlySet<number>;
  const lost = { packets: 0 };
  {
    await using resources = new AsyncDisposableStack();
    const begun = attack.begin({ agent, folder, config, resources });
    looks.push(...(await watch(agent, victim, lost)));
    inums = await begun;
    // As many again while it goes on.
    looks.push(...(await watch(agent, victim, lost)));
    await wait(LOOK_EVERY_MS);
  }
  const used = ThreadTimes.of(agent.pid).since(usedBefore);
  const rssMost = Math.max(...looks.map(({ rssKiB }) => rssKiB));
  await wait(AFTER_MS);
  const rssAfter = residentKiB(agent);
  const after = await agent.page();
  const { sinks } = await agent.json<SinksReport>('/api/v1/sinks');
  agent.signal('SIGTERM');
  const exit = await agent.exited;
  const oracleOf = (of: ReadonlySet<number>) =>
    [...oracle.read(of).values()].reduce((sum, { count }) => sum + count, 0);
  const events = agent.stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as { probe: string; pod: string })
    .filter(({ probe, pod }) => probe === 'packetloss' && pod === victim.name);
  const rows: Row[] = [];
  const add = (what: string, value: number, unit = '', bound?: Row['bound']) =>
    rows.push({ bench: `attack: ${attack.name}`, what, value, unit, ...(bound === undefined ? {} : { bound }) });
  const ofVictim = (page: Exposition) => sumOf(page, (pod) => pod === victim.name);
  add('packets of the victim, of the oracle', oracleOf(new Set([victim.inum])));
  add('packets of the victim too many or too few', Math.abs(ofVictim(after) - oracleOf(new Set([victim.inum]))), '', {
    atMost: 0,
  });
  add('events of the victim that are missing', lost.packets - events.length, '', { atMost: 0 });
  if (inums.size > 0) {
    const node = (page: Exposition) => sumOf(page, (pod) => pod !== victim.name);
    add('packets of the attacker, of the oracle', oracleOf(inums));
    add('packets in rows of others, less those', node(after) - node(before) - oracleOf(inums));
  }
  add('longest answer of /healthz', Math.max(...looks.map(({ healthMs }) => healthMs)), 'ms', { atMost: 100 });
  add('longest scrape', Math.max(...looks.map(({ scrapeMs }) => scrapeMs)), 'ms', { atMost: 1_000 });
  add('largest page, of before', Math.max(...looks.map(({ bytes }) => bytes)) / bytesBefore, '×', { atMost: 2 });
  add('RSS before', rssBefore / 1_024, 'MB');
  add('largest RSS, of before', rssMost / rssBefore, '×', { atMost: 1.5 });
  add('RSS a minute after, of before', rssAfter / rssBefore, '×', { atMost: 1.1 });
  const cpuMs = [...used.threads.values()].reduce((sum, thread) => sum + thread.cpuMs, 0);
  add('share of a CPU', (100 * cpuMs) / used.elapsedMs, '%');
  add('exit status after SIGTERM', exit.code ?? -1, '', { atMost: 0 });
  process.stderr.write(`${attack.name}: ${JSON.stringify(sinks)}\n`);
  return rows;
}

interface Look {
  readonly healthMs: number;
  readonly scrapeMs: number;
  readonly bytes: number;
  readonly rssKiB: number;
}

/** The victim loses a packet again and again, and users ask, until the attack is over. */
async function watch(agent: AgentProcess, victim: TestNetns, lost: { packets: number }): Promise<Look[]> {
  const looks: Look[] = [];
  const endMs = performance.now() + ATTACK_MS / 2;
  for (let look = 0; performance.now() < endMs; look++) {
    victim.python("import socket; socket.socket(2, 2).sendto(b'x', ('127.0.0.1', 9))");
    lost.packets++;
    const healthMs = await timed(async () => void (await (await agent.get('/healthz')).text()));
    let bytes = 0;
    const scrapeMs =
      look % SCRAPE_EVERY === 0
        ? await timed(async () => {
            bytes = (await (await agent.get('/metrics', { 'accept-encoding': 'gzip' })).text()).length;
          })
        : 0;
    looks.push({ healthMs, scrapeMs, bytes, rssKiB: residentKiB(agent) });
    await wait(LOOK_EVERY_MS);
  }
  return looks;
}

/** Until it was answered: a connection that is closed for want of room is opened again, as a kubelet would. */
async function timed(work: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  for (;;) {
    try {
      await work();
      return performance.now() - startMs;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
    }
  }
}

function residentKiB({ pid }: AgentProcess): number {
  const found = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(found?.[1]);
}

/** Drops and discards of all rows of these Pods. */
function sumOf({ samples }: Exposition, isOf: (pod: string) => boolean): number {
  return samples
    .filter(({ name, labels }) => FREES.includes(name) && isOf(labels['pod'] ?? ''))
    .reduce((sum, { value }) => sum + Number(value), 0);
}
