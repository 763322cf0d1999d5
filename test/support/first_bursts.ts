import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'vitest';
import type { ProbesReport } from '#api/probes.ts';
import { AgentProcess } from './agent_process.ts';
import { TestNetns, uniqueName } from './hosts.ts';
import { eventually } from './oracle.ts';
import { PrometheusServer, type Series } from './prometheus.ts';

/** Probes that are switched off and on between two bursts. A probe that is off counts nothing. */
const TOGGLED = ['packetloss', 'tcpreset', 'udp', 'qdisc', 'netdev'];
const IS_COUNTING: ReadonlySet<string> = new Set(['running', 'degraded']);
const DROPS = 'netsonde_packet_drops_total';
const RESETS = 'netsonde_tcp_resets_total';
/** Name of the devices that are repeatedly created and removed in a permanent namespace. */
const DEVICE = 'zd0';
const COUNTER = /^netsonde_.+_(total|count|bucket)$/;
/** Prometheus' own counters of rejected samples. */
const FAULTS = [
  'prometheus_target_scrapes_sample_duplicate_timestamp_total',
  'prometheus_target_scrapes_sample_out_of_order_total',
  'prometheus_target_scrapes_sample_out_of_bounds_total',
];
const SETTLE_MS = 60_000;

export interface BurstsOptions {
  readonly intervals: readonly [number, number];
  /** Number of namespaces to create one after the other. */
  readonly rounds: number;
  /** Minimum time between the creation of two namespaces. Each namespace exists for `lifeSeconds`. */
  readonly everySeconds: number;
  readonly lifeSeconds: number;
  readonly kills: number;
  /** Whether the scrape interval is configured. If not, the agent measures it. */
  readonly isSaid?: boolean;
}

export interface BurstsReport {
  readonly namespaces: number;
  readonly seconds: number;
  readonly scrapes: readonly number[];
  /** Time of each server's scrapes, in seconds from the start of its scrape interval. */
  readonly phases: readonly number[];
  readonly kills: number;
  readonly toggles: number;
  readonly devices: number;
  /** Time from the last burst until both servers had the complete increases. */
  readonly settledSeconds: number;
}

interface Burst {
  readonly pod: string;
  datagrams: number;
  connections: number;
}

/** Sends datagrams to closed ports and attempts connections to closed ports. */
function burst(netns: TestNetns, datagrams: number, connections: number): void {
  netns.python(`
import socket
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(${datagrams}):
    out.sendto(b'x', ('127.0.0.1', 9))
for _ in range(${connections}):
    with socket.socket() as client:
        client.connect_ex(('127.0.0.1', 9))
`);
}

/** Returns the increase over all samples without extrapolation. */
function increaseOf({ samples }: Series): number {
  return samples.slice(1).reduce((sum, { value }, index) => {
    const before = samples[index]?.value ?? 0;
    return sum + (value < before ? value : value - before);
  }, 0);
}

class Run implements AsyncDisposable {
  readonly #options: BurstsOptions;
  readonly #stack = new AsyncDisposableStack();
  readonly #directory = mkdtempSync(join(tmpdir(), 'bursts-'));
  readonly prefix = uniqueName('b');
  #startMs = performance.now();
  readonly #bursts: Burst[] = [];
  readonly #alive: { readonly netns: TestNetns; readonly burst: Burst; readonly untilMs: number }[] = [];
  readonly #devices: TestNetns;
  readonly servers: PrometheusServer[] = [];
  /** Start and end of each agent process, in Unix seconds. */
  readonly lives: { fromSeconds: number; toSeconds: number }[] = [];
  #agent: AgentProcess | undefined;
  #generation = 0;
  toggles = 0;
  devices = 0;

  constructor(options: BurstsOptions) {
    this.#options = options;
    this.#devices = this.#stack.use(new TestNetns());
    this.#stack.defer(() => rmSync(this.#directory, { recursive: true, force: true }));
    this.#stack.defer(() => {
      for (const { netns } of this.#alive) netns[Symbol.dispose]();
    });
  }

  get agent(): AgentProcess {
    if (this.#agent === undefined) throw new Error('no agent is running');
    return this.#agent;
  }

  /** Name of the namespace in which devices are created and removed. */
  get devicesName(): string {
    return this.#devices.name;
  }

  get namespaces(): number {
    return this.#bursts.length;
  }

  get elapsedSeconds(): number {
    return (performance.now() - this.#startMs) / 1_000;
  }

  async begin(): Promise<void> {
    await this.#serve('127.0.0.1:0');
    const address = this.agent.url?.replace('http://', '') ?? '';
    for (const [nth, intervalSeconds] of this.#options.intervals.entries()) {
      const targets = [{ address, labels: {} }];
      this.servers.push(
        this.#stack.use(await PrometheusServer.start({ targets, intervalSeconds, replica: `replica-${nth}` })),
      );
    }
    await this.#scraped();
    this.#startMs = performance.now();
  }

  /** Creates a namespace, and immediately causes a burst of traffic in it. */
  bear(): void {
    const netns = new TestNetns(`${this.prefix}${this.#bursts.length}`);
    netns.ip('link set lo up');
    const one = { pod: netns.name, datagrams: 0, connections: 0 };
    this.#bursts.push(one);
    this.#alive.push({ netns, burst: one, untilMs: performance.now() + this.#options.lifeSeconds * 1_000 });
    this.#burst(netns, one);
  }

  bury(): void {
    while ((this.#alive[0]?.untilMs ?? Number.POSITIVE_INFINITY) < performance.now()) {
      this.#alive.shift()?.netns[Symbol.dispose]();
    }
  }

  /** Causes another burst in every existing namespace. */
  burstAgain(): void {
    for (const { netns, burst: one } of this.#alive) this.#burst(netns, one);
  }

  renewDevice(): void {
    this.devices++;
    if (this.devices > 1) this.#devices.ip(`link del ${DEVICE}`);
    this.#devices.ip(`link add ${DEVICE} type veth peer name ${DEVICE}p`);
    this.#devices.ip(`link set ${DEVICE}p up`);
    this.#devices.ip(`addr add 10.99.0.1/24 dev ${DEVICE}`);
    this.#devices.ip(`link set ${DEVICE} up`);
    this.#devices.python(`
import socket
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
for _ in range(${50 * (this.devices % 3) + 10}):
    out.sendto(b'x' * 100, ('10.99.0.255', 9))
`);
  }

  /** Disables and re-enables a probe, waiting for each change to be applied. */
  async toggle(): Promise<void> {
    const probe = TOGGLED[this.toggles % TOGGLED.length] ?? '';
    this.toggles++;
    await this.#configure({ [probe]: false });
    await wait(1_500 * Math.min(...this.#options.intervals));
    await this.#configure({});
  }

  /** Kills the agent, and starts another agent at the same address. */
  async kill(): Promise<void> {
    await this.settle();
    const address = this.agent.url?.replace('http://', '') ?? '';
    await this.#end();
    await this.#serve(address);
    await this.#scraped();
  }

  /** Waits until the increases on both servers equal the sent traffic of each namespace. */
  async settle(): Promise<void> {
    await eventually(async () => expect(await this.#differences()).toEqual([]), SETTLE_MS);
  }

  async end(): Promise<void> {
    await this.#end();
  }

  /** Returns the differences between the servers' increases and the sent traffic, by namespace. */
  async #differences(): Promise<string[]> {
    const seconds = Math.ceil(this.elapsedSeconds) + 60;
    const found: string[] = [];
    for (const [nth, server] of this.servers.entries()) {
      const of = async (selector: string) => {
        const sums = new Map<string, number>();
        for (const series of await server.samples(selector, seconds)) {
          const pod = series.labels['pod'] ?? '';
          sums.set(pod, (sums.get(pod) ?? 0) + increaseOf(series));
        }
        return sums;
      };
      const drops = await of(`${DROPS}{reason="NO_SOCKET",pod=~"${this.prefix}.*"}`);
      const resets = await of(`${RESETS}{direction="sent",pod=~"${this.prefix}.*"}`);
      for (const { pod, datagrams, connections } of this.#bursts) {
        // Some kernels also count the rejected SYNs as drops.
        const dropped = drops.get(pod) ?? 0;
        const isGood = dropped === datagrams || dropped === datagrams + connections;
        if (!isGood) found.push(`server ${nth}: ${pod} has ${dropped} drops of ${datagrams}`);
        if (resets.get(pod) !== connections)
          found.push(`server ${nth}: ${pod} has ${resets.get(pod)} resets of ${connections}`);
      }
    }
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent?.[Symbol.asyncDispose]();
    await this.#stack[Symbol.asyncDispose]();
  }

  #burst(netns: TestNetns, one: Burst): void {
    const datagrams = 50 + ((this.#bursts.length * 37) % 200);
    const connections = 3 + (this.#bursts.length % 5);
    burst(netns, datagrams, connections);
    one.datagrams += datagrams;
    one.connections += connections;
  }

  async #serve(address: string): Promise<void> {
    this.#write({});
    this.#agent = await AgentProcess.serve(['--config', join(this.#directory, 'config.yaml'), '--listen', address]);
    await eventually(async () => expect((await this.agent.get('/readyz')).status).toBe(200), 60_000);
    this.lives.push({ fromSeconds: Date.now() / 1_000, toSeconds: Number.POSITIVE_INFINITY });
  }

  async #end(): Promise<void> {
    const life = this.lives.at(-1);
    if (life !== undefined) life.toSeconds = Date.now() / 1_000;
    this.agent.signal('SIGKILL');
    await this.agent.exited;
  }

  /** Waits until each server has scraped the running agent. */
  async #scraped(): Promise<void> {
    const { fromSeconds } = this.lives.at(-1) ?? { fromSeconds: 0 };
    for (const server of this.servers) {
      await eventually(async () => {
        const [value] = await server.query('timestamp(netsonde_build_info)');
        expect(value?.value ?? 0).toBeGreaterThan(fromSeconds);
      }, 120_000);
    }
  }

  async #configure(off: Readonly<Record<string, boolean>>): Promise<void> {
    this.#write(off);
    await eventually(async () => {
      const { probes } = await this.agent.json<ProbesReport>('/api/v1/probes');
      // The burst must not start before all of these probes are counting.
      const counting = probes.filter(({ name, state }) => TOGGLED.includes(name) && IS_COUNTING.has(state));
      const wanted = TOGGLED.filter((name) => off[name] === undefined);
      expect(counting.map(({ name }) => name).sort()).toEqual(wanted.sort());
    }, 60_000);
  }

  #write(off: Readonly<Record<string, boolean>>): void {
    this.#generation++;
    const { intervals, isSaid = false } = this.#options;
    const config = {
      probes: { ...Object.fromEntries(TOGGLED.map((name) => [name, true])), ...off },
      limits: isSaid ? { scrapeInterval: `${Math.max(...intervals)}s` } : {},
    };
    writeFileSync(join(this.#directory, 'config.yaml'), `# ${this.#generation}\n${JSON.stringify(config)}\n`);
  }
}

/**
 * Runs an agent and two Prometheus servers that scrape it. Meanwhile, namespaces are created, immediately have a burst
 * of traffic and are removed; devices are removed and created again under the same name; probes are toggled; and the
 * agent is killed. Checks that the increases on both servers are exact, that no counter decreases while an agent runs
 * except those of the device, and that Prometheus rejected no sample as duplicate or out of order.
 */
export async function checkFirstBursts(options: BurstsOptions): Promise<BurstsReport> {
  await using run = new Run(options);
  await run.begin();
  const { rounds, everySeconds, kills } = options;
  let killed = 0;
  for (let round = 1; round <= rounds; round++) {
    const nextMs = performance.now() + everySeconds * 1_000;
    run.bear();
    run.bury();
    run.renewDevice();
    // A client that is not a scraper reads the page between two scrapes. The servers must still see the initial zero.
    await run.agent.page();
    if (round % 4 === 0) run.burstAgain();
    if (round % 3 === 0) await run.toggle();
    if (killed < kills && round >= (rounds * (killed + 1)) / (kills + 1)) {
      killed++;
      await run.kill();
    }
    await wait(Math.max(0, nextMs - performance.now()));
  }
  const settledMs = performance.now();
  await run.settle();
  const settledSeconds = (performance.now() - settledMs) / 1_000;
  await run.end();
  const falls = await Promise.all(run.servers.map((server) => fallsWithin(server, run)));
  expect(falls.flat()).toEqual([]);
  const scrapes = await Promise.all(run.servers.map((server) => scrapeTimes(server, run)));
  for (const server of run.servers) {
    const { samples } = await server.page();
    for (const fault of FAULTS) {
      const values = samples.filter(({ name }) => name === fault).map(({ value }) => Number(value));
      expect(values, fault).toEqual([0]);
    }
  }
  return {
    namespaces: run.namespaces,
    seconds: Math.round(run.elapsedSeconds),
    scrapes: scrapes.map(({ length }) => length),
    phases: scrapes.map((times, nth) => Number(((times.at(-1) ?? 0) % (options.intervals[nth] ?? 1)).toFixed(3))),
    kills: killed,
    toggles: run.toggles,
    devices: run.devices,
    settledSeconds,
  };
}

async function scrapeTimes(server: PrometheusServer, run: Run): Promise<number[]> {
  const [series] = await server.samples('netsonde_page_series', Math.ceil(run.elapsedSeconds) + 60);
  return (series?.samples ?? []).map(({ time }) => time);
}

/** Returns the counters that decreased while one agent ran. */
async function fallsWithin(server: PrometheusServer, run: Run): Promise<string[]> {
  const names = (await server.get<string[]>('label/__name__/values')).filter((name) => COUNTER.test(name));
  expect(names).toContain(DROPS);
  const fallen = async (name: string, atSeconds: number, seconds: number) => {
    // The query selects the namespaces of this test, because those of other tests may reuse names.
    const ours = `${name}{pod=~"|${run.devicesName}|${run.prefix}[0-9]+"}`;
    const rows = await server.query(`resets(${ours}[${seconds}s] @ ${atSeconds.toFixed(3)}) > 0`);
    return rows.flatMap(({ labels }) =>
      labels['device']?.startsWith(DEVICE) ? [] : [`${name}${JSON.stringify(labels)}`],
    );
  };
  const lives = run.lives.flatMap(({ fromSeconds, toSeconds }) => {
    const seconds = Math.floor(toSeconds - fromSeconds);
    return seconds < 1 ? [] : [{ toSeconds, seconds }];
  });
  const found = await Promise.all(
    lives.flatMap(({ toSeconds, seconds }) => names.map((name) => fallen(name, toSeconds, seconds))),
  );
  return found.flat();
}
