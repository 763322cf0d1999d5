import type { IncomingMessage, RequestListener } from 'node:http';
import { Lane } from '#agent/lane.ts';
import type { ConfigStatus } from '#api/config.ts';
import { Aggregator } from '#collectors/aggregate.ts';
import { ConfigReader } from '#config/load.ts';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { Ledger } from '#delivery/ledger.ts';
import { SinkSet } from '#delivery/sink_set.ts';
import { RecordBus } from '#events/bus.ts';
import { EVENT_KIND } from '#events/event_kind.ts';
import { FLOW_KIND } from '#events/flow_kind.ts';
import { INCIDENT_KIND } from '#events/incident_kind.ts';
import { RECORD_KINDS } from '#events/kinds.ts';
import { REQUEST_KIND } from '#events/request_kind.ts';
import { type Access, accessTo } from '#http/access.ts';
import { AgentMetrics, type KubernetesState } from '#http/agent_metrics.ts';
import { Connections } from '#http/connections.ts';
import { Followers } from '#http/followers.ts';
import { Listeners } from '#http/listeners.ts';
import { Refusals } from '#http/refusals.ts';
import { Scrapers } from '#http/scrapers.ts';
import { type AgedPage, NoThreadError } from '#kernel/client.ts';
import { type CountersSelection, readCounters } from '#kernel/counters.ts';
import { DiscoveryStatus } from '#kernel/discovery_status.ts';
import { type MapPlaces, reportMap } from '#kernel/flow_map.ts';
import { type FlowSelection, type FlowsAnswer, type MapAnswer, reportFlows, whyNoFlows } from '#kernel/flows.ts';
import type { QuestionName, Questions } from '#kernel/messages.ts';
import { reportRequests } from '#kernel/request_numbers.ts';
import { troubleOf } from '#kernel/trouble.ts';
import type { PeerLookup, ServiceWorkload } from '#peers/peer.ts';
import type { Entity } from '#pods/entity.ts';
import type { FlowEdges, RequestEdges } from '#probe/flow_edges.ts';
import { PROBES } from '#probes/index.ts';
import { createApp, createListener, type ServerDeps } from '#server';
import { DEFAULT_PORT_RANGE } from '#sources/procfs/port_range.ts';
import { Files } from '../../src/files/files.ts';
import { makeFlowRow, makeRequestRow } from './flow_rows.ts';

/** Path of a token file that does not exist. */
const NO_FILE = '/nonexistent/token';

function entity(kind: Entity['kind'], id: number, pod: string, isRetired = false): Entity {
  const labels = kind === 'pod' ? { app: 'cart' } : {};
  const [namespace, uid] = kind === 'pod' ? ['shop', `uid-${id}`] : ['', ''];
  return { kind, netns: asNetnsId(id), inum: id, namespace, pod, uid, labels, isRetired };
}

const ENTITIES = [
  entity('node', 1, ''),
  entity('pod', 2, 'cart-0'),
  entity('container', 3, 'facade'),
  entity('netns', 4, 'blue'),
  entity('process', 5, 'sleep-77'),
  entity('pod', 6, 'cart-1', true),
];

export const KUBERNETES: KubernetesState = {
  connected: true,
  trouble: undefined,
  resources: [],
  addresses: 0,
  addressesLeftOut: 0,
};

/** A fake kernel thread that can hang or be unavailable. */
class FakeKernel {
  state: 'answers' | 'hangs' | 'lost' = 'answers';
  probes: Questions['probes']['answer'] = [];
  /** Reasons why discovery is degraded. */
  degraded: readonly string[] = [];
  agedPage: AgedPage | undefined;
  /** Rows of the probe `flow`; undefined if it is off. */
  requests: readonly RequestEdges[] = [
    {
      collectedAtMs: 1_700_000_000_000,
      edges: [makeRequestRow(), makeRequestRow({ protocol: 'dns_udp', port: 53 })],
      departed: [makeRequestRow({ peer: '10.0.0.8' })],
      rests: [makeRequestRow({ peer: null, port: 0 })],
      connections: [{ netns: asNetnsId(2), read: 90, encrypted: 8, other: 2, late: 1, refused: 0 }],
    },
  ];
  flows: FlowEdges | undefined = {
    collectedAtMs: 1_767_225_600_000,
    edges: [makeFlowRow(), makeFlowRow({ peer: null, port: 0 })],
    departed: [],
  };
  readonly restarts = 0;
  readonly stuckThreads = 0;

  async ask<Name extends QuestionName>(name: Name, ask: Questions[Name]['ask']): Promise<Questions[Name]['answer']> {
    if (this.state === 'lost') throw new NoThreadError('the kernel thread is being replaced');
    if (this.state === 'hangs') return new Promise(() => undefined);
    return structuredClone(await this.#answer(name, ask)) as Questions[Name]['answer'];
  }

  ledger(): Promise<Questions['ledger']['answer']> {
    return this.ask('ledger', null);
  }

  async page(): Promise<AgedPage> {
    if (this.agedPage === undefined) throw new NoThreadError('there is no page');
    return this.agedPage;
  }

  async #flows(selection: FlowSelection): Promise<FlowsAnswer> {
    if (this.flows === undefined) return whyNoFlows([], undefined);
    const find = (id: NetnsId) => {
      const found = ENTITIES.find(({ netns }) => netns === id);
      return found && { ...found, workload: found.pod };
    };
    const requests = await reportRequests(this.requests, selection, find, freeCycle());
    return { report: { ...(await reportFlows('n1', this.flows, selection, find, freeCycle())), requests } };
  }

  async #map(services: readonly ServiceWorkload[]): Promise<MapAnswer> {
    if (this.flows === undefined) return whyNoFlows([], undefined);
    const places: MapPlaces = {
      node: 'n1',
      zone: 'a',
      ephemeral: DEFAULT_PORT_RANGE,
      ownerOf: (id) => {
        const { namespace = '', pod = '' } = ENTITIES.find(({ netns }) => netns === id) ?? {};
        return { kind: 'workload', namespace, name: pod };
      },
      isHere: () => false,
      dnsNames: false,
      services,
    };
    return { report: await reportMap(this.flows, undefined, this.requests, places, freeCycle()) };
  }

  #discovery(): ConstructorParameters<typeof DiscoveryStatus>[1]['report'] {
    const program = { name: 'work_starts', hook: 'tp_btf/workqueue_execute_start', id: 7, runSeconds: 0.5 };
    return {
      health: () => ({ reader: this.degraded.length > 0 ? 'scan' : 'tp_btf', degraded: this.degraded }),
      programs: () => (this.degraded.length > 0 ? [] : [{ ...program, runs: 5n, missed: 0n }]),
    };
  }

  #answer(name: QuestionName, ask: Questions[QuestionName]['ask']): unknown {
    const aggregator = new Aggregator([], () => false);
    aggregator.entities.set(ENTITIES);
    switch (name) {
      case 'probes':
        return this.probes;
      case 'discovery':
        return new DiscoveryStatus(
          { visibilityGap: undefined, crowd: undefined },
          { report: this.#discovery() },
        ).status(undefined);
      case 'entities':
        return aggregator.entities.all.map(({ kind, namespace, pod, netns, sharedNetns, uid, labels }) => {
          const ips = kind === 'netns' ? [] : ['10.0.0.1', 'fe80::1'];
          return {
            kind,
            namespace,
            pod,
            netns: String(sharedNetns ?? netns),
            sharesNode: sharedNetns !== undefined,
            uid,
            labels,
            ips,
          };
        });
      case 'trouble':
        return troubleOf(aggregator, new Date());
      case 'counters':
        return readCounters(
          {
            entities: ENTITIES,
            registry: { snapshot: () => ENTITIES.map(({ netns, inum }) => ({ id: netns, inum, isNode: inum === 1 })) },
            mib: { readOne: () => new Map([['Ip', new Map([['OutNoRoutes', 2n ** 60n]])]]) },
            files: { parse: () => undefined },
          },
          ask as CountersSelection,
          freeCycle(),
        );
      case 'flows':
        return this.#flows(ask as FlowSelection);
      case 'map':
        return this.#map(ask as readonly ServiceWorkload[]);
      case 'ledger':
        return PROBES.filter(({ events }) => Object.keys(events).length > 0).map(({ name: probe }, index) => {
          const stage = index % 2 === 0 ? 'kernel' : 'agent';
          return { kind: 'event', probe, stage, produced: 20, limited: 1, limitedLater: 0, lost: 0 };
        });
      default:
        throw new Error(`no route asks for ${name}`);
    }
  }
}

export type Caller = 'this machine' | 'this machine by another name' | 'this machine by two names' | 'another machine';

/** The HTTP interface on loopback, with the event lane, the sinks, and a fake kernel thread that the test controls. */
export class ApiHost implements AsyncDisposable {
  readonly kernel = new FakeKernel();
  readonly bus = new RecordBus(EVENT_KIND);
  readonly flows = new RecordBus(FLOW_KIND);
  readonly requests = new RecordBus(REQUEST_KIND);
  readonly incidents = new RecordBus(INCIDENT_KIND);
  readonly ledger = new Ledger();
  readonly sinks = new SinkSet({ ledger: this.ledger, kinds: RECORD_KINDS, files: new Files(), log: () => undefined });
  readonly lane: Lane;
  /** Looks up the peer of an event. */
  peers: PeerLookup | undefined;
  readonly token = 'sixteen-or-more-characters';
  status: ConfigStatus = {
    file: '/etc/netsonde.yaml',
    configMap: null,
    generation: 1,
    successful: true,
    appliedMs: Date.now(),
    notice: '',
    rejected: null,
  };
  kubernetes: KubernetesState | undefined = KUBERNETES;
  serviceWorkloads: readonly ServiceWorkload[] = [];
  /** The caller that requests appear to have. */
  caller: Caller = 'this machine';
  tokenFile: string | undefined;
  readonly app: ReturnType<typeof createApp>;
  readonly #listener: RequestListener;
  readonly warnings: string[] = [];
  readonly refusals = new Refusals();
  readonly #connections = new Connections(this.refusals);
  readonly #listeners = new Listeners(this.#connections, this.refusals);

  private constructor() {
    const { document } = new ConfigReader(PROBES).defaults;
    this.lane = new Lane({
      node: 'n1',
      probes: PROBES,
      ephemeral: DEFAULT_PORT_RANGE,
      ledger: this.ledger,
      bus: this.bus,
      incidents: this.incidents,
      peers: () => this.peers,
      deliver: (records) => this.sinks.offer(records),
    });
    this.lane.configure({ limit: 1_000, foldMs: 0, foldBy: 'service', history: 0 });
    const { kernel } = this;
    const deps: ServerDeps = {
      version: '1.2.3',
      kernel,
      metrics: new AgentMetrics(),
      scrapers: new Scrapers(),
      bus: this.bus,
      flows: this.flows,
      requests: this.requests,
      incidents: { bus: this.incidents, current: this.lane.incidents },
      services: () => this.serviceWorkloads,
      serviceWorkloads: () => this.serviceWorkloads,
      followers: new Followers(this.refusals),
      ledger: this.ledger,
      unfolded: () => this.lane.unfolded,
      policies: () => undefined,
      sinks: this.sinks,
      config: () => this.status,
      document: () => document,
      node: 'n1',
      started: new Date(),
      toolSocket: 'netsonde-tools-test',
      kubernetes: () => this.kubernetes,
      ready: () => true,
      until: (probe) => (probe === 'running' ? new Date().toISOString() : null),
      // Only a kernel thread that hangs is waited for in vain. All others answer, however busy the machine is.
      get answerMs() {
        return kernel.state === 'hangs' ? 300 : 60_000;
      },
      connections: this.#connections,
      refusals: this.refusals,
      warn: (message) => this.warnings.push(message),
      web: () => undefined,
    };
    const access: Access = {
      all: (request, response, next) => this.#access.all(this.#seen(request), response, next),
      api: (request, response, next) => this.#access.api(this.#seen(request), response, next),
    };
    this.app = createApp(deps, access);
    this.#listener = createListener(deps, access, this.app);
  }

  static async open(): Promise<ApiHost> {
    const host = new ApiHost();
    host.bus.historyMax = 1_000;
    host.flows.historyMax = 1_000;
    host.requests.historyMax = 1_000;
    host.incidents.historyMax = 1_000;
    await host.#listeners.onAddress({ host: '127.0.0.1', port: 0 }, host.#listener);
    return host;
  }

  /** Address in the form `HOST:PORT`. */
  get address(): string {
    return this.#listeners.address;
  }

  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`http://${this.address}${path}`, init);
  }

  loseTokenFile(): void {
    this.tokenFile = NO_FILE;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listeners[Symbol.dispose]();
    this.lane[Symbol.dispose]();
    await this.sinks.close();
  }

  get #access(): ReturnType<typeof accessTo> {
    const { refusals, tokenFile } = this;
    const warn = (message: string) => void this.warnings.push(message);
    return accessTo('tcp', { files: new Files(), tokenFile, socketOnly: false, refusals, warn, web: undefined });
  }

  /** Returns the request with the socket and Host header of `caller`. */
  #seen(request: IncomingMessage): IncomingMessage {
    const seen: Record<Caller, PropertyDescriptorMap> = {
      'this machine': {},
      'this machine by another name': { headersDistinct: { value: { host: ['page.example'] } } },
      'this machine by two names': { headersDistinct: { value: { host: ['localhost', 'page.example'] } } },
      'another machine': { socket: { value: { localAddress: '10.0.0.1', remoteAddress: '10.0.0.2' } } },
    };
    return Object.create(request, seen[this.caller]);
  }
}
