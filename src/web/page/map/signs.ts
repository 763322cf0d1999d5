import { endsOf } from '#api/event_ends.ts';
import type { Peer } from '#api/events.ts';
import type { MapEdge, MapNode, MapReport } from '#api/map.ts';
import type { EdgeProtocol } from '#api/words.ts';
import type { SeenEvent } from '../event_log.ts';
import { HISTORY_MS } from '../flows/history.ts';
import { type Directory, identityOf, isShared } from './directory.ts';

/** Evidence of problems with an edge, from events. Events are sampled, so all numbers are lower bounds. */
export interface Signs {
  /** Newest first. */
  readonly events: SeenEvent[];
  /** Number of packets that were dropped by a rule in the last minute. */
  denied: number;
  /** Number of packets that were dropped for other reasons in the last minute. */
  dropped: number;
  /** Number of segments that were dropped because of a full accept queue in the last minute. */
  queueFull: number;
  /** The same at another port of the server, to which a Service may forward the connections of the edge. */
  queueFullBehind: number;
  /** Number of failed connection attempts in the last minute whose SYNs were retransmitted. */
  unanswered: number;
  /** Drop reasons of the last minute. */
  readonly reasons: Set<string>;
}

/** An edge that is known only from events, because its connections are never established. */
export type DeniedEdge = Pick<MapEdge, 'id' | 'source' | 'target' | 'port' | 'protocol'>;

export interface SignsOfEdges {
  readonly byEdge: ReadonlyMap<string, Signs>;
  readonly denied: readonly DeniedEdge[];
  /** Ends of these edges that no connection has. */
  readonly nodes: readonly MapNode[];
  readonly unplaced: Unplaced;
}

/** Numbers of packets that were dropped in the last minute, but belong to no edge, by reason. */
export interface Unplaced {
  /** The network namespace has no owner. */
  unowned: number;
  /** The protocol is not on the map. */
  otherProtocol: number;
  /** No connection between these ends is known, and no rule denied the packet. */
  withoutEdge: number;
}

/** Period over which packets are counted. */
const WINDOW_MS = 60_000;
const EVENTS_OF_EDGE_MAX = 20;
const DENIED_EDGES_MAX = 100;

/**
 * The kernel's drop reasons for packets that were dropped by a rule. SOCKET_FILTER is not included, because an
 * application may attach a filter to its own socket.
 */
const DENIALS: readonly string[] = ['NETFILTER_DROP', 'BPF_CGROUP_EGRESS', 'XFRM_POLICY'];

interface End {
  readonly ip: string;
  readonly port: number | null;
}

/** Parses `10.0.0.1:53`, `[::1]:53`, `10.0.0.1` or `::1`. */
export function parseEnd(text: string): End {
  const [, v6, v4, port] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? [];
  if (port === undefined) return { ip: text, port: null };
  return { ip: v6 ?? v4 ?? '', port: Number(port) };
}

/** Activity of an edge in the last minute. */
export type Activity = 'idle' | 'working' | 'failing';

/**
 * Finds the edges to which the events of the last five minutes belong.
 * @param activityOf returns what an edge did in the last minute
 */
export function signsOf(
  events: readonly SeenEvent[],
  report: Pick<MapReport, 'edges' | 'udp'>,
  directory: Directory,
  nowMs: number,
  activityOf: (edge: MapEdge) => Activity = () => 'working',
): SignsOfEdges {
  const finder = new EdgeFinder(report, directory, activityOf);
  const byEdge = new Map<string, Signs>();
  const unplaced: Unplaced = { unowned: 0, otherProtocol: 0, withoutEdge: 0 };
  for (const seen of events) {
    const ageMs = nowMs - Date.parse(seen.event.time);
    if (ageMs > HISTORY_MS) continue;
    const ids = finder.edgesOf(seen.event);
    const isRecent = ageMs <= WINDOW_MS;
    if (ids.length === 0 && isRecent && seen.event.type === 'packet_drop') {
      unplaced[finder.whyUnplaced(seen.event)] += timesOf(seen.event);
    }
    for (const id of ids) {
      const signs = byEdge.get(id) ?? newSigns();
      byEdge.set(id, signs);
      if (signs.events.length < EVENTS_OF_EDGE_MAX) signs.events.push(seen);
      if (isRecent) count(signs, seen.event, finder.portOf(id));
    }
  }
  return { byEdge, denied: finder.denied, nodes: [...finder.nodes.values()], unplaced };
}

function newSigns(): Signs {
  return { events: [], denied: 0, dropped: 0, queueFull: 0, queueFullBehind: 0, unanswered: 0, reasons: new Set() };
}

function timesOf(event: SeenEvent['event']): number {
  return event.count ?? 1;
}

function isDenial({ type, reason }: SeenEvent['event']): boolean {
  return type === 'packet_drop' && DENIALS.includes(String(reason));
}

/** @param port port of the edge */
function count(signs: Signs, event: SeenEvent['event'], port: number | null | undefined): void {
  if (event.type === 'accept_queue_full') {
    signs[port === event['port'] ? 'queueFull' : 'queueFullBehind'] += Number(event['refused'] ?? 1);
  }
  if (event.type === 'connection_failed' && Number(event['retransmits'] ?? 0) > 0) signs.unanswered += timesOf(event);
  if (event.type !== 'packet_drop') return;
  if (isDenial(event)) signs.denied += timesOf(event);
  else signs.dropped += timesOf(event);
  signs.reasons.add(String(event['reason']));
}

class EdgeFinder {
  readonly denied: DeniedEdge[] = [];
  readonly nodes = new Map<string, MapNode>();
  readonly #directory: Directory;
  readonly #activityOf: (edge: MapEdge) => Activity;
  readonly #hasUdp: boolean;
  readonly #ports = new Map<string, number | null>();
  readonly #byEnds = new Map<string, string>();
  /** Edges of TCP by the box of the server. */
  readonly #byTarget = new Map<string, MapEdge[]>();
  /**
   * Edge IDs by protocol, box of the client, and name of the server. A Service and its workload often have the same
   * name.
   */
  readonly #byName = new Map<string, string[]>();

  constructor(
    { edges, udp }: Pick<MapReport, 'edges' | 'udp'>,
    directory: Directory,
    activityOf: (edge: MapEdge) => Activity,
  ) {
    this.#directory = directory;
    this.#activityOf = activityOf;
    this.#hasUdp = udp === 'shown';
    for (const edge of edges) {
      const { id, source, target, port, protocol } = edge;
      this.#ports.set(id, port);
      this.#byEnds.set(endsKey(protocol, source, target, port), id);
      if (protocol === 'tcp') append(this.#byTarget, target, edge);
      append(this.#byName, `${protocol} ${source} ${directory.nameOf(target)}`, id);
    }
  }

  /**
   * Returns no edge for an event in a network namespace without an owner. The same address may belong to someone else
   * there, such as a Pod of another cluster on this machine.
   */
  edgesOf(event: SeenEvent['event']): readonly string[] {
    if (event.pod === null) return [];
    if (event.type === 'accept_queue_full') return this.#edgesToPort(this.#ownerOf(event), Number(event['port']));
    const { src, dst } = endsOf(event);
    const protocol = this.#protocolOf(event);
    if (src === undefined || dst === undefined || protocol === undefined) return [];
    const id = this.#edgeBetween(event, protocol, parseEnd(src), parseEnd(dst));
    return id === undefined ? [] : [id];
  }

  /** Returns the reason why a dropped packet belongs to no edge. */
  whyUnplaced(event: SeenEvent['event']): keyof Unplaced {
    if (event.pod === null) return 'unowned';
    return this.#protocolOf(event) === undefined ? 'otherProtocol' : 'withoutEdge';
  }

  portOf(edge: string): number | null | undefined {
    return this.#ports.get(edge);
  }

  /** Returns the protocol of an event if the map has edges of it. Events of connections may not state that it is TCP. */
  #protocolOf(event: SeenEvent['event']): EdgeProtocol | undefined {
    const { protocol = 'tcp' } = endsOf(event);
    return protocol === 'tcp' || (protocol === 'udp' && this.#hasUdp) ? protocol : undefined;
  }

  /**
   * Returns the edges whose connections a listening socket may have refused. A failing edge to another port of the
   * server is one of them, because a Service may forward its connections. Idle edges are included only if all are idle.
   */
  #edgesToPort(target: string | undefined, port: number): readonly string[] {
    const edges = target === undefined ? [] : (this.#byTarget.get(target) ?? []);
    const direct = edges.filter((edge) => edge.port === port);
    const active = edges.filter((edge) => {
      const activity = this.#activityOf(edge);
      return edge.port === port ? activity !== 'idle' : edge.seenBy !== 'server' && activity === 'failing';
    });
    return (active.length > 0 ? active : direct).map(({ id }) => id);
  }

  #ownerOf({ namespace, pod }: SeenEvent['event']): string | undefined {
    return namespace === null || pod === null ? undefined : this.#directory.ofPod(namespace, pod);
  }

  #edgeBetween(event: SeenEvent['event'], protocol: EdgeProtocol, from: End, to: End): string | undefined {
    const [source, target] = this.#boxesOf(event, from.ip, to.ip);
    const known =
      source === undefined || target === undefined
        ? undefined
        : this.#knownEdge(protocol, { source, target, from: from.port, to: to.port });
    if (known !== undefined || !isDenial(event)) return known;
    const sender = source ?? newBox(ownerIn(event, 'src', from.ip), protocol, from.ip);
    const receiver = target ?? newBox(ownerIn(event, 'dst', to.ip), protocol, to.ip);
    if (sender === undefined || receiver === undefined) return undefined;
    return isEphemeral(to.port) && !isEphemeral(from.port)
      ? this.#addDenied(protocol, receiver, sender, from.port)
      : this.#addDenied(protocol, sender, receiver, to.port);
  }

  /** Finds the edge of a packet, which either the client or the server may have sent. */
  #knownEdge(
    protocol: EdgeProtocol,
    { source, target, from, to }: { source: string; target: string; from: number | null; to: number | null },
  ): string | undefined {
    const forth = this.#byEnds.get(endsKey(protocol, source, target, to));
    const back = this.#byEnds.get(endsKey(protocol, target, source, from));
    if (forth !== undefined || back !== undefined) return forth ?? back;
    const byName = this.#byName.get(`${protocol} ${source} ${this.#directory.nameOf(target)}`) ?? [];
    return byName.length === 1 ? byName[0] : undefined;
  }

  /** Returns the boxes of both ends, as far as the map has them. */
  #boxesOf(event: SeenEvent['event'], from: string, to: string): (string | undefined)[] {
    const own = this.#ownerOf(event);
    const boxes = (['src', 'dst'] as const).map((end) => {
      const ip = end === 'src' ? from : to;
      const owner = ownerIn(event, end, ip);
      return (owner && this.#directory.ofPeer(owner)) ?? this.#directory.ofAddress(ip);
    });
    // The event's own Pod is the end that is not the named peer.
    if (own !== undefined && event.pod !== '' && !boxes.includes(own)) {
      if (event.peer?.ip === from) boxes[1] ??= own;
      else if (event.peer?.ip === to) boxes[0] ??= own;
    }
    return boxes;
  }

  #addDenied(protocol: EdgeProtocol, from: Box, to: Box, port: number | null): string | undefined {
    const [source, target] = [from, to].map((box) => (typeof box === 'string' ? box : box.id)) as [string, string];
    const key = endsKey(protocol, source, target, port);
    const known = this.#byEnds.get(key);
    if (known !== undefined) return known;
    if (source === target || this.denied.length >= DENIED_EDGES_MAX) return undefined;
    const id = `denied ${key}`;
    this.#byEnds.set(key, id);
    this.denied.push({ id, source, target, port, protocol });
    for (const box of [from, to]) if (typeof box !== 'string') this.nodes.set(box.id, box);
    return id;
  }
}

/** Returns the owner of an address that the event names. */
function ownerIn({ peer, srcOwner, dstOwner }: SeenEvent['event'], end: 'src' | 'dst', ip: string): Peer | undefined {
  return (end === 'src' ? srcOwner : dstOwner) ?? (peer?.ip === ip ? peer : undefined);
}

/** ID of a box of the map, or a new box. */
type Box = string | MapNode;

/**
 * Returns a box for an address without connections. Returns undefined for an unnamed address that may have no owner,
 * such as a broadcast address of UDP.
 */
function newBox(owner: Peer | undefined, protocol: EdgeProtocol, ip: string): MapNode | undefined {
  if (owner === undefined && (protocol !== 'tcp' || isShared(ip))) return undefined;
  const { kind, namespace, name } =
    owner === undefined ? ({ kind: 'unknown', namespace: '', name: '' } as const) : identityOf(owner);
  const id = `${kind}/${namespace}/${name}`;
  return { id, kind, namespace, name, zone: null, services: [], local: kind === 'local' };
}

/** Whether a port is in the range from which Linux assigns client ports by default. */
function isEphemeral(port: number | null): boolean {
  return port !== null && port >= 32_768;
}

function append<T>(map: Map<string, T[]>, key: string, value: T): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, [value]);
  else values.push(value);
}

function endsKey(protocol: EdgeProtocol, source: string, target: string, port: number | null): string {
  return `${source} > ${target} : ${port}${protocol === 'tcp' ? '' : ` ${protocol}`}`;
}
