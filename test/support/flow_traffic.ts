import { sh } from './command.ts';
import { type FlowSums, mergeSums } from './flow_sums.ts';
import { FlowWorker, type ListenerOptions, type RouteOptions } from './flow_worker.ts';
import { TestNetns, uniqueName } from './hosts.ts';

const PORTS = [7201, 7202, 7203, 7204];
const SPECIAL = {
  reuse: 7301,
  fast: 7302,
  mptcp: 7303,
  defer: 7304,
  small: 7305,
  loop: 7306,
  back: 7307,
  refused: 7399,
  any: 7400,
};
const NO_ROUTE = '198.51.100.1';
/** Addresses that no namespace has. Packets to the first one are sent to a MAC address that no device has. */
const [SILENT, UNREACHABLE] = [
  { net: 3, ipv4: '10.77.3.1', ipv6: 'fd77::3:1' },
  { net: 3, ipv4: '10.77.3.2', ipv6: 'fd77::3:2' },
];
/** Range of local ports that each worker uses for sockets with a port of their own. */
const SPARE = { first: 20_000, count: 5_000 };

/** Routes over which each kind of traffic can run. Kinds that are not listed can use all routes. */
const ALL = ['plain', 'six', 'mapped', 'wildcard', 'reuse', 'fast', 'mptcp', 'defer', 'small', 'loop', 'back'];
const TCP = ALL.filter((name) => name !== 'mptcp');
const SLOW_OPEN = TCP.filter((name) => name !== 'fast' && name !== 'defer');
const TO_NOBODY = ['plain', 'six', 'mapped'];
const ROUTES = {
  short: ALL,
  hold: ALL,
  chat: ALL,
  release: ALL,
  half: TCP,
  whole: TCP,
  abort: TCP,
  unread: TCP,
  disconnect: SLOW_OPEN,
  in_flight: TCP,
  stuffed: TCP,
  lost_reset: TCP,
  silent_peer: TCP,
  refused: TO_NOBODY,
  timeout: TO_NOBODY,
  unreachable: TO_NOBODY,
  no_route: ['plain', 'mapped'],
  given_up: TO_NOBODY,
  no_port: ['plain', 'six', 'mapped', 'loop'],
  time_wait: ['plain', 'six', 'mapped', 'loop', 'reuse'],
  passed: TCP,
  self_connect: ['plain', 'six', 'loop'],
  unaccepted: ['plain', 'six', 'loop', 'back'],
  overflow: ['plain', 'six'],
} as const satisfies Record<string, readonly string[]>;

export type TrafficKind = keyof typeof ROUTES;
export const TRAFFIC_KINDS = Object.keys(ROUTES) as readonly TrafficKind[];

export interface TrafficOptions {
  /**
   * Number of processes. Each process has its own server addresses. All processes share the client addresses and the
   * ports.
   */
  readonly workers?: number;
  /** Number of addresses per namespace. */
  readonly addresses?: number;
  readonly seed?: string;
}

/**
 * Known traffic between two namespaces. Most clients are in `a`, and most servers are in `b`. Each combination of an
 * address and one of four ports is an edge of `a` and also an edge of `b`. Special listeners have their own ports.
 */
export class FlowTraffic implements AsyncDisposable {
  readonly a: TestNetns;
  readonly b: TestNetns;
  readonly #workers: readonly FlowWorker[];
  readonly #resources: AsyncDisposableStack;
  /** Routes that this kernel supports. */
  readonly routes: ReadonlySet<string>;

  private constructor(made: Made, routes: ReadonlySet<string>, resources: AsyncDisposableStack) {
    this.a = made.a;
    this.b = made.b;
    this.#workers = made.workers;
    this.routes = routes;
    this.#resources = resources;
  }

  static async start({ workers = 2, addresses = 16, seed = '1' }: TrafficOptions = {}): Promise<FlowTraffic> {
    await using resources = new AsyncDisposableStack();
    const a = resources.use(new TestNetns());
    const b = resources.use(new TestNetns());
    join(a, b, addresses);
    const made = {
      a,
      b,
      workers: Array.from({ length: workers }, (_, index) => resources.use(new FlowWorker(`${seed} ${index}`))),
    };
    const routes = await Promise.all(made.workers.map((worker, index) => open(made, worker, index, addresses)));
    return new FlowTraffic(made, new Set(routes.flat()), resources.move());
  }

  /**
   * Opens `count` connections, choosing their kinds at random by weight. Resolves when all of them are closed or idle.
   */
  async play(weights: Partial<Record<TrafficKind, number>>, count: number, parallel = 8): Promise<void> {
    const mix = Object.entries(weights).flatMap(([kind, weight]) => {
      const routes = ROUTES[kind as TrafficKind].filter((route) => this.routes.has(route));
      return routes.map((route) => [kind, route, weight / routes.length] as const);
    });
    const each = Math.ceil(count / this.#workers.length);
    await Promise.all(this.#workers.map((worker) => worker.call('play', { mix, count: each, parallel })));
  }

  /** Closes all connections that were left open. */
  async closeAll(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.call('close_all', {})));
  }

  async sums(): Promise<FlowSums> {
    return mergeSums(await Promise.all(this.#workers.map((worker) => worker.call('tell', {}))));
  }

  /** Waits until all counters of closed sockets are final, and returns the sums. There must be no running traffic. */
  async rest(): Promise<FlowSums> {
    const { rows } = await this.sums();
    const staying = ({ name }: TestNetns) =>
      rows.reduce((sum, { netns, open: [, max] }) => sum + (netns === name ? max : 0), 0);
    const sockets = Object.fromEntries([this.a, this.b].map((netns) => [netns.name, staying(netns)]));
    await Promise.all(
      this.#workers.map((worker, index) => worker.call('rest', { sockets: index === 0 ? sockets : {} })),
    );
    return this.sums();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#resources.disposeAsync();
  }
}

interface Made {
  readonly a: TestNetns;
  readonly b: TestNetns;
  readonly workers: readonly FlowWorker[];
}

interface Addresses {
  readonly ipv4: readonly string[];
  readonly ipv6: readonly string[];
}

function addressesOf(net: number, count: number): Addresses {
  const numbers = Array.from({ length: count }, (_, index) => index + 1);
  return {
    ipv4: numbers.map((number) => `10.77.${net}.${number}`),
    ipv6: numbers.map((number) => `fd77::${net}:${number.toString(16)}`),
  };
}

function hardwareAddress(net: number): string {
  return `02:00:00:00:77:0${net}`;
}

function join(a: TestNetns, b: TestNetns, addresses: number): void {
  const [deviceA, deviceB] = [uniqueName('fa'), uniqueName('fb')];
  const end = (device: string, netns: TestNetns, net: number) =>
    `${device} address ${hardwareAddress(net)} netns ${netns.name}`;
  sh(`ip link add ${end(deviceA, a, 1)} type veth peer name ${end(deviceB, b, 2)}`);
  for (const [netns, device, net, other] of [
    [a, deviceA, 1, 2],
    [b, deviceB, 2, 1],
  ] as const) {
    const { ipv4, ipv6 } = addressesOf(net, addresses);
    const others = addressesOf(other, addresses);
    const neighbours = [
      ...[...others.ipv4, ...others.ipv6].map((address) => [address, hardwareAddress(other)] as const),
      ...[SILENT.ipv4, SILENT.ipv6].map((address) => [address, hardwareAddress(SILENT.net)] as const),
    ];
    const lines = [
      'link set lo up',
      ...ipv4.map((address) => `addr add ${address}/16 dev ${device}`),
      // Duplicate address detection would block the address for a second or two.
      ...ipv6.map((address) => `addr add ${address}/64 dev ${device} nodad`),
      `link set ${device} up`,
      // On a busy machine, the settings below would make neighbour resolution give up too early, so the entries are
      // permanent.
      ...neighbours.map(([address, to]) => `neigh replace ${address} lladdr ${to} dev ${device} nud permanent`),
    ];
    netns.batch(...lines);
    const settings = [
      'net.ipv4.tcp_fastopen=3',
      'net.ipv4.tcp_syn_linear_timeouts=0',
      'net.ipv4.tcp_tw_reuse=1',
      'net.ipv4.tcp_tw_reuse_delay=1',
      'net.mptcp.enabled=1',
      ...['ipv4', 'ipv6'].flatMap((family) => [
        `net.${family}.neigh.${device}.retrans_time_ms=30`,
        `net.${family}.neigh.${device}.mcast_solicit=1`,
      ]),
    ];
    // Older kernels do not have all of these settings.
    netns.exec(`sysctl -qeiw ${settings.join(' ')}`);
  }
}

/** Addresses of a single worker. */
interface Share {
  readonly made: Made;
  readonly index: number;
  readonly sources: Addresses;
  /** Addresses of `b` that only this worker uses. */
  readonly targets: Addresses;
  /** Addresses of `a`: `b` connects to those in `back`, and `a` itself connects to those in `loop`. */
  readonly back: readonly string[];
  readonly loop: readonly string[];
}

type Listening = readonly [route: string, options: Omit<ListenerOptions, 'name'>];

function listenersOf({ made: { a, b }, index, targets, back, loop }: Share): Listening[] {
  const on = (route: string, { name: netns }: TestNetns, bind: string, port: number, options = {}): Listening => [
    route,
    { netns, bind, reach: bind, port, ...options },
  ];
  const { ipv4, ipv6 } = targets;
  const [first = '', first6 = ''] = [ipv4[0], ipv6[0]];
  return [
    ...PORTS.flatMap((port) => ipv4.map((address) => on('plain', b, address, port))),
    ...PORTS.slice(0, 2).flatMap((port) => ipv6.map((address) => on('six', b, address, port))),
    on('wildcard', b, '::', SPECIAL.any + index, { reach: first }),
    on('reuse', b, first, SPECIAL.reuse, { sockets: 4 }),
    on('fast', b, first, SPECIAL.fast, { fastopen: 64 }),
    on('fast', b, first6, SPECIAL.fast, { fastopen: 64 }),
    on('mptcp', b, first, SPECIAL.mptcp, { mptcp: true }),
    on('defer', b, first, SPECIAL.defer, { defer: true }),
    on('small', b, first, SPECIAL.small, { backlog: 0 }),
    ...loop.map((address) => on('loop', a, address, SPECIAL.loop)),
    ...back.map((address) => on('back', a, address, SPECIAL.back)),
  ];
}

/** Returns the routes to these listeners, except listeners that the kernel does not support. */
function routesOf(
  share: Share,
  listeners: ReadonlyMap<string, readonly string[]>,
): Omit<RouteOptions, 'spare_ports'>[] {
  const { made, sources, targets, loop } = share;
  const nobody = (family: keyof Addresses) => ({
    refused: [targets[family][0] ?? '', SPECIAL.refused] as const,
    silent: [SILENT[family], SPECIAL.refused] as const,
    unreachable: [UNREACHABLE[family], SPECIAL.refused] as const,
    no_route: [NO_ROUTE, SPECIAL.refused] as const,
  });
  const special: Readonly<Record<string, Partial<RouteOptions>>> = {
    plain: nobody('ipv4'),
    six: { sources: sources.ipv6.slice(0, 4), ...nobody('ipv6') },
    fast: { sources: [...sources.ipv4, ...sources.ipv6.slice(0, 2)] },
    loop: { sources: loop },
    back: { netns: made.b.name, sources: targets.ipv4.slice(0, 2) },
  };
  const base = { netns: made.a.name, sources: sources.ipv4 };
  const of = (name: string) => listeners.get(name) ?? [];
  const mapped = { name: 'mapped', mapped: true, listeners: [...of('plain').slice(0, 4), ...of('wildcard')] };
  return [
    ...[...listeners].map(([name, names]) => ({ ...base, ...special[name], name, listeners: names })),
    { ...base, ...nobody('ipv4'), ...mapped },
  ];
}

/** Opens the listeners and routes of a worker. Returns the names of the routes. */
async function open(made: Made, worker: FlowWorker, index: number, addresses: number): Promise<string[]> {
  const isOwn = (_: string, at: number) => at % made.workers.length === index;
  const [sources, targets] = [addressesOf(1, addresses), addressesOf(2, addresses)];
  const share: Share = {
    made,
    index,
    sources,
    targets: { ipv4: targets.ipv4.filter(isOwn), ipv6: targets.ipv6.filter(isOwn) },
    back: sources.ipv4.filter(isOwn).slice(0, 2),
    loop: [`127.0.0.${index + 1}`, ...(index === 0 ? ['::1'] : [])],
  };
  const listeners = new Map<string, string[]>();
  for (const [route, options] of listenersOf(share)) {
    const name = `${route} ${options.reach} ${options.port}`;
    if (await worker.call('listen', { name, ...options })) {
      listeners.set(route, [...(listeners.get(route) ?? []), name]);
    }
  }
  const low = SPARE.first + index * SPARE.count;
  const routes = routesOf(share, listeners);
  for (const route of routes) await worker.call('route', { ...route, spare_ports: [low, low + SPARE.count - 1] });
  return routes.map(({ name }) => name);
}
