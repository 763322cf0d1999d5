import { deepEqual, equal, ok } from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { BpfObject } from 'bpf-napi';
import { FILE } from '#bpf/generated/tcp_ends.ts';
import type { Exposition } from './exposition.ts';
import { TestNetns, uniqueName } from './hosts.ts';
import { only, TestKernel } from './kernel.ts';
import { followLoads } from './loads.ts';
import { eventually } from './oracle.ts';

const PROGRAM = fileURLToPath(new URL('./flow_churn.py', import.meta.url));
/** Number of namespaces that are created and removed together. */
const WAVE = 10;
/** Waves use the subnets 10.100.0.0/16 to 10.199.0.0/16 in turn, because a removed subnet may still have its route. */
const FIRST_NET = 100;
const NETS = 100;
const CONFIG = only({
  flow: { enabled: true, identity: 'address', loopback: true },
  tcpconnect: true,
  lifecycle: { enabled: true, retire: '5s', share: 1 },
});

export interface PodSums {
  readonly connections: number;
  readonly sent: number;
  readonly received: number;
}

/** Maps of the programs whose keys begin with the cookie of a namespace. */
const MAPS = ['flow_rows', 'owners', 'counts', 'connect_times'] as const;

/** The process that creates the namespaces and generates their traffic. */
class Churn implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;
  readonly #gone: Promise<unknown>;

  constructor(hub: TestNetns) {
    this.#child = spawn('python3', ['-B', PROGRAM, hub.name], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async call<T>(call: 'make' | 'begin' | 'end', args: object): Promise<T> {
    this.#child.stdin.write(`${JSON.stringify({ call, args })}\n`);
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error('the traffic has ended');
    const { result, error } = JSON.parse(value) as { result: T; error?: string };
    if (error !== undefined) throw new Error(error);
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin.end();
    await this.#gone;
  }
}

/** Returns the sums over all edges of a Pod, including those under `*`. */
function sumsOn({ named }: Exposition, pod: string): PodSums {
  const sum = (name: string) =>
    (named.get(name) ?? []).reduce(
      (total, { labels, value }) => total + (labels['pod'] === pod ? Number(value) : 0),
      0,
    );
  return {
    connections: sum('netsonde_flow_connections_total'),
    sent: sum('netsonde_flow_sent_bytes_total'),
    received: sum('netsonde_flow_received_bytes_total'),
  };
}

function shownPods({ samples }: Exposition, prefix: string): string[] {
  const pods = samples.flatMap(({ labels }) => (labels['pod']?.startsWith(prefix) === true ? [labels['pod']] : []));
  return [...new Set(pods)];
}

/** Returns the number of entries of each map that belong to these namespaces. */
function entriesOf(object: BpfObject, cookies: ReadonlySet<bigint>): Record<string, number> {
  return Object.fromEntries(
    MAPS.map((name) => {
      const { count, view, keyAt } = object.map(name).dump();
      const keys = Array.from({ length: count }, (_, index) => view.getBigUint64(keyAt(index), true));
      return [name, keys.filter((key) => cookies.has(key)).length];
    }),
  );
}

/**
 * Creates and removes waves of namespaces. Each wave begins before the previous one ends.
 * @returns the cookies of all namespaces
 */
async function churn(agent: TestKernel, object: BpfObject, prefix: string, count: number): Promise<Set<bigint>> {
  const cookies = new Set<bigint>();
  using hub = new TestNetns();
  await using traffic = new Churn(hub);
  const all: PodSums = { connections: 0, sent: 0, received: 0 };
  let before: string[] = [];
  for (let first = 0, wave = 0; first < count || before.length > 0; first += WAVE, wave++) {
    const names = Array.from(
      { length: Math.max(0, Math.min(WAVE, count - first)) },
      (_, at) => `${prefix}${first + at}`,
    );
    if (names.length > 0) {
      const made = await traffic.call<number[]>('make', { names, net: FIRST_NET + (wave % NETS) });
      for (const cookie of made) cookies.add(BigInt(cookie));
    }
    await eventually(async () => {
      const listed = (await agent.kernel.entities()).map(({ pod }) => pod);
      deepEqual(
        [hub.name, ...names].filter((name) => !listed.includes(name)),
        [],
      );
    });
    // The agent might attribute traffic of namespaces that it has not listed to other namespaces, so the test waits for
    // the list.
    if (names.length > 0) await traffic.call('begin', { names });
    // The rows of open connections do not exist until a walk has created them.
    await eventually(async () => {
      await agent.page();
      ok((entriesOf(object, cookies)['flow_rows'] ?? 0) >= names.length);
    });
    if (before.length > 0) await endWave(agent, traffic, before, all);
    before = names;
  }
  await eventually(async () => {
    const { connections, sent, received } = sumsOn(await agent.page(), hub.name);
    deepEqual({ connections, sent: received, received: sent }, all);
  });
  return cookies;
}

/** Removes namespaces, and checks that the page then shows the final sums of each. */
async function endWave(agent: TestKernel, traffic: Churn, names: readonly string[], all: PodSums): Promise<void> {
  const sums = await traffic.call<Record<string, PodSums>>('end', { names });
  for (const each of Object.values(sums)) {
    Object.assign(all, {
      connections: all.connections + each.connections,
      sent: all.sent + each.sent,
      received: all.received + each.received,
    });
  }
  await eventually(async () => {
    const page = await agent.page();
    deepEqual(Object.fromEntries(names.map((name) => [name, sumsOn(page, name)])), sums);
  });
}

/**
 * Creates and removes namespaces that have traffic. Checks the sums of each namespace when it is removed, and that the
 * agent then keeps neither series nor BPF map entries for it.
 */
export async function checkFlowChurn(count: number): Promise<void> {
  using loaded = followLoads(FILE);
  await using agent = await TestKernel.open(CONFIG);
  const prefix = uniqueName('fc');
  const object = loaded.last;
  const cookies = await churn(agent, object, prefix, count);
  equal(cookies.size, count);
  await eventually(async () => {
    deepEqual(shownPods(await agent.page(), prefix), []);
    deepEqual(entriesOf(object, cookies), Object.fromEntries(MAPS.map((name) => [name, 0])));
  });
  deepEqual(
    (await agent.kernel.entities()).filter(({ pod }) => pod.startsWith(prefix)),
    [],
  );
}
