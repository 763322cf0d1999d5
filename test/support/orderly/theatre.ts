import { fileURLToPath } from 'node:url';
import type { EventRecord } from '#api/events.ts';
import { kernelFeatures } from '../../guest/features.ts';
import { sh } from '../command.ts';
import type { Exposition } from '../exposition.ts';
import { TestNetns, uniqueName } from '../hosts.ts';
import { only, TestKernel } from '../kernel.ts';
import { eventually, readBoth } from '../oracle.ts';
import { FAMILIES, type Family } from '../scene.ts';
import { type Freed, FreesOracle } from './frees.ts';
import { LineProcess } from './line_process.ts';

const STAGE = fileURLToPath(new URL('./stage.py', import.meta.url));
const DROPS = 'netsonde_packet_drops_total';
const DISCARDS = 'netsonde_packet_discards_total';
/** Second byte of a theatre's addresses, by IP version. */
const SUBNETS = { ipv4: 87, ipv6: 88 } as const satisfies Record<Family, number>;
const FIRST_PORT = 21_000;
/** Number of ports per pattern. Some patterns use several consecutive ports. */
const PORTS_EACH = 30;

/**
 * Enables every probe that sends events about packets, and those whose programs run for each packet or connection. Probes
 * that send events about latencies are off, because they would only show that the machine is busy.
 */
const CONFIG = only(
  {
    packetloss: { limit: 1_000 },
    tcpretrans: { limit: 1_000 },
    tcpreset: { limit: 1_000 },
    conntrack: true,
    flow: true,
    tcpconnect: true,
    tcpsummary: true,
    udpflow: true,
    dns: true,
    http: true,
  },
  { detail: 'full' },
);

type Counts = Readonly<Record<string, number>>;

export interface Played {
  /** Drops in the theatre's namespaces by reason. */
  readonly drops: Counts;
  /** Discards in the theatre's namespaces by class. */
  readonly discards: Counts;
  /**
   * Drops and discards that are counted for the node. They include packets whose namespace is unknown, and packets of
   * other programs on the machine.
   */
  readonly ofNode: number;
  /** Packets that the oracle counted in the namespaces. */
  readonly frees: readonly Freed[];
  /** Packets that the oracle counted by the theatre's address, because they had neither a device nor a socket. */
  readonly strayFrees: readonly Freed[];
  /** Warnings from the namespaces. */
  readonly warnings: readonly EventRecord[];
}

interface Reading {
  readonly drops: Counts;
  readonly discards: Counts;
  readonly ofNode: number;
  readonly frees: ReadonlyMap<string, Freed>;
}

interface Place {
  readonly netns: TestNetns;
  readonly device: string;
  readonly ipv4: string;
  readonly ipv6: string;
}

/** The agent's kernel side and the oracle, which both observe the whole machine. */
export class Audience implements AsyncDisposable {
  readonly agent: TestKernel;
  readonly oracle: FreesOracle;
  readonly hasReasons = kernelFeatures().dropReasons;

  private constructor(agent: TestKernel, oracle: FreesOracle) {
    this.agent = agent;
    this.oracle = oracle;
  }

  static async open(): Promise<Audience> {
    await using cleanup = new AsyncDisposableStack();
    const agent = cleanup.use(await TestKernel.open(CONFIG));
    const oracle = cleanup.use(await FreesOracle.open([SUBNETS.ipv4, SUBNETS.ipv6]));
    cleanup.move();
    return new Audience(agent, oracle);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.oracle[Symbol.dispose]();
    await this.agent[Symbol.asyncDispose]();
  }
}

/** Three namespaces for patterns over one IP version. Two of them are connected. */
export class Theatre implements AsyncDisposable {
  readonly family: Family;
  /** IDs of all patterns. */
  readonly patterns: readonly string[];
  readonly #places: readonly Place[];
  readonly #resources: AsyncDisposableStack;
  readonly #audience: Audience;
  readonly #stage: LineProcess;
  #port = FIRST_PORT;
  #last: Reading | undefined;

  private constructor(
    family: Family,
    audience: Audience,
    parts: {
      resources: AsyncDisposableStack;
      places: readonly Place[];
      stage: LineProcess;
      patterns: readonly string[];
    },
  ) {
    this.family = family;
    this.#audience = audience;
    this.#resources = parts.resources;
    this.#places = parts.places;
    this.#stage = parts.stage;
    this.patterns = parts.patterns;
  }

  static async open(family: Family, audience: Audience): Promise<Theatre> {
    await using cleanup = new AsyncDisposableStack();
    const subnet = SUBNETS[family];
    const place = (host: number, third: number): Place => ({
      netns: cleanup.use(new TestNetns()),
      device: uniqueName('vo'),
      ipv4: `10.${subnet}.${third}.${host}`,
      ipv6: `fd${subnet.toString(16)}:${third}::${host}`,
    });
    const places = [place(1, 0), place(2, 0), place(3, 99)] as const;
    furnish(...places);
    const stage = cleanup.use(new LineProcess('python3', '-u', STAGE));
    const patterns = JSON.parse(await stage.line()) as string[];
    return new Theatre(family, audience, { resources: cleanup.move(), places, stage, patterns });
  }

  /** Plays a pattern or its twin. @throws if the pattern itself fails */
  async play(id: string, twin: boolean): Promise<Played> {
    const { agent } = this.#audience;
    const before = this.#last ?? (await this.#read());
    this.#last = undefined;
    const told = agent.events.length;
    await this.#act(id, twin);
    const after = await this.#read();
    this.#last = after;
    const drops = grown(before.drops, after.drops);
    const ofUs = () =>
      agent.events.slice(told).filter(({ pod }) => this.#places.some(({ netns }) => netns.name === pod));
    // Events arrive asynchronously.
    await eventually(() => {
      const events = ofUs().filter(({ type }) => type === 'packet_drop').length;
      if (events < total(drops)) throw new Error(`${id}: ${events} events of ${JSON.stringify(drops)}`);
    }, 3_000);
    const frees = freed(before.frees, after.frees);
    return {
      drops,
      discards: grown(before.discards, after.discards),
      ofNode: after.ofNode - before.ofNode,
      frees: frees.filter(({ netns }) => netns !== SUBNETS[this.family]),
      strayFrees: frees.filter(({ netns }) => netns === SUBNETS[this.family]),
      warnings: ofUs().filter(({ severity }) => severity === 'warning'),
    };
  }

  async #act(id: string, twin: boolean): Promise<void> {
    this.#port += PORTS_EACH;
    const namespaces = this.#places.map(({ netns, device, ipv4, ipv6 }) => {
      return { name: netns.name, device, mac: macOf(netns, device), ipv4, ipv6 };
    });
    await this.#request({ id, v6: this.family === 'ipv6', twin, port: this.#port, namespaces });
  }

  async #request(order: { readonly id: string | null; readonly [key: string]: unknown }): Promise<void> {
    this.#stage.tell(JSON.stringify(order));
    const { error } = JSON.parse(await this.#stage.line()) as { error?: string };
    if (error !== undefined) throw new Error(`${order.id}: ${error}`);
  }

  /** Reads the agent and the oracle at the same moment. */
  async #read(): Promise<Reading> {
    const names = this.#places.map(({ netns }) => netns.name);
    const ours = new Set([SUBNETS[this.family], ...this.#places.map(({ netns }) => netns.inum)]);
    const { oracle, ours: counted } = await readBoth(
      () => [...this.#audience.oracle.read(ours)],
      async () => {
        // The agent counts a datagram that has no device when the CPU frees the next packet or message.
        if (!this.#audience.hasReasons) await this.#request({ id: null });
        return countsOf(await this.#audience.agent.page(), names);
      },
    );
    return { ...counted, frees: new Map(oracle) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

/**
 * Connects the first two namespaces by a veth pair with permanent neighbour entries. Sets up all devices so that IPv6
 * works immediately.
 */
function furnish(a: Place, b: Place, c: Place): void {
  sh(`ip link add ${a.device} netns ${a.netns.name} type veth peer name ${b.device} netns ${b.netns.name}`);
  c.netns.ip(`link add ${c.device} type bridge`);
  for (const { netns, device, ipv4, ipv6 } of [a, b, c]) {
    // A new device must send its multicast reports immediately, because they would otherwise be counted during the next
    // pattern.
    const quick = 'net.ipv6.conf.default.mldv2_unsolicited_report_interval=10';
    netns.exec(`sysctl -qw net.ipv4.ip_forward=0 ${quick} net.ipv6.conf.default.router_solicitations=0`);
    netns.exec(`sysctl -qw net.ipv6.conf.${device}.router_solicitations=0`);
    netns.ip('link set lo up');
    netns.ip(`addr add ${ipv4}/24 dev ${device}`);
    netns.ip(`addr add ${ipv6}/64 dev ${device} nodad`);
    netns.ip(`link set ${device} up`);
  }
  for (const [one, other] of [
    [a, b],
    [b, a],
  ] as const) {
    for (const address of [other.ipv4, other.ipv6]) {
      const mac = macOf(other.netns, other.device);
      one.netns.ip(`neigh replace ${address} lladdr ${mac} dev ${one.device} nud permanent`);
    }
  }
}

function macOf(netns: TestNetns, device: string): string {
  const [link] = JSON.parse(netns.ip(`-j link show ${device}`)) as { address: string }[];
  return link?.address ?? '';
}

function countsOf(page: Exposition, pods: readonly string[]): Omit<Reading, 'frees'> {
  const [drops, discards]: [Record<string, number>, Record<string, number>] = [{}, {}];
  let ofNode = 0;
  for (const { name, labels, value } of page.samples) {
    const counts = name === DROPS ? drops : name === DISCARDS ? discards : undefined;
    if (counts === undefined) continue;
    const what = labels['reason'] ?? labels['class'] ?? '';
    if (pods.includes(labels['pod'] ?? '')) counts[what] = (counts[what] ?? 0) + Number(value);
    else if ((labels['pod'] ?? '') === '') ofNode += Number(value);
  }
  return { drops, discards, ofNode };
}

export function total(counts: Counts): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

function grown(before: Counts, after: Counts): Counts {
  const found: Record<string, number> = {};
  for (const [what, value] of Object.entries(after)) {
    const more = value - (before[what] ?? 0);
    if (more !== 0) found[what] = more;
  }
  return found;
}

function freed(before: ReadonlyMap<string, Freed>, after: ReadonlyMap<string, Freed>): Freed[] {
  const rows: Freed[] = [];
  for (const [key, row] of after) {
    const more = row.count - (before.get(key)?.count ?? 0);
    if (more !== 0) rows.push({ ...row, count: more });
  }
  return rows;
}

/** Opens a theatre for each IP version. Both use the same agent and oracle. */
export async function openTheatres(resources: AsyncDisposableStack): Promise<readonly Theatre[]> {
  const audience = resources.use(await Audience.open());
  const theatres: Theatre[] = [];
  for (const family of FAMILIES) theatres.push(resources.use(await Theatre.open(family, audience)));
  return theatres;
}
