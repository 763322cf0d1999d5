import type { Supervisor } from '#collectors/supervisor.ts';
import { freeCycle } from '#core/cycle.ts';
import { type NetnsId, UNLISTED } from '#core/netns.ts';
import { type PeerPrivacy, ruleOf } from '#core/privacy.ts';
import type { ServiceWorkload } from '#peers/peer.ts';
import { networks } from '#peers/public.ts';
import type { PodDirectory } from '#pods/directory.ts';
import type { Entity } from '#pods/entity.ts';
import {
  type DatagramEdges,
  type EdgePlace,
  type Edges,
  FLOW_PROBE,
  type FlowEdges,
  type RequestEdges,
  UDP_PROBE,
} from '#probe/flow_edges.ts';
import type { PeerIdentity } from '#probe/peer_identity.ts';
import { isNamedByDns, type NamedPeer, type PeerNames } from '#probe/peer_names.ts';
import { HIDDEN_PEER, UNKNOWN_PEER } from '#probe/peers.ts';
import { type PortRange, readPortRange } from '#sources/procfs/port_range.ts';
import type { Collection } from './collection.ts';
import { reportMap } from './flow_map.ts';
import {
  type FlowOwner,
  type FlowSelection,
  type FlowsAnswer,
  type MapAnswer,
  type NoFlows,
  reportFlows,
  whyNoFlows,
} from './flows.ts';
import type { PeerTable } from './peer_table.ts';
import { reportRequests } from './request_numbers.ts';

export interface FlowAnswersOptions {
  /** Name of this node. */
  readonly node: string;
  readonly proc: string;
  readonly supervisor: Pick<Supervisor, 'active' | 'status'>;
  readonly collection: Pick<Collection, 'recent'>;
  readonly directory: PodDirectory;
  readonly peers: Pick<PeerTable, 'zone' | 'pods'>;
  readonly find: (id: NetnsId) => Entity | undefined;
  readonly privacy: Pick<PeerPrivacy, 'hides' | 'rules'>;
  readonly names: Pick<PeerNames, 'of' | 'isOn'>;
  /** Returns whether a namespace belongs to another node that runs on this machine. */
  readonly isElsewhere: (id: NetnsId) => boolean;
}

/** Maximum age in milliseconds of a collection that requests for `/api/v1/trouble`, `flows` and `map` reuse. */
export const FRESH_MS = 2_000;

/**
 * Answers requests for the edges of the probes `flow` and `udpflow`, and of those that count requests. Collects first if the last collection is too old.
 */
export class FlowAnswers {
  readonly #options: FlowAnswersOptions;
  readonly #ephemeral: PortRange;

  constructor(options: FlowAnswersOptions) {
    this.#options = options;
    this.#ephemeral = readPortRange(options.proc);
  }

  /** Returns the totals of the edges that match the selection. */
  report(selection: FlowSelection): Promise<FlowsAnswer> {
    const { node } = this.#options;
    const find = (id: NetnsId) => this.#ownerOf(id);
    return this.#answer(async (edges) => {
      const requests = this.#requests();
      const report = await reportFlows(node, edges, selection, find, freeCycle());
      return { ...report, requests: await reportRequests(requests, selection, find, freeCycle()) };
    });
  }

  /**
   * Returns the edges, grouped by the identities of both ends.
   * @param services the workloads behind Services. The map shows them in place of the Services, unless peers are named
   *   by Pod.
   */
  map(services: readonly ServiceWorkload[]): Promise<MapAnswer> {
    const { node, peers, directory } = this.#options;
    const isInPodNetwork = networks(directory.podNetworks);
    const ips = directory.addresses();
    const isHere = ({ identity, peer }: EdgePlace) => {
      if (identity?.kind === 'local') return true;
      if (identity?.kind === 'node') return identity.name === node;
      return peer !== null && (ips.has(peer) || isInPodNetwork(peer));
    };
    const places = {
      node,
      dnsNames: this.#options.names.isOn,
      zone: peers.zone,
      ephemeral: this.#ephemeral,
      ownerOf: (netns: NetnsId) => this.#identityOf(this.#options.find(netns)),
      isHere,
      services: peers.pods ? [] : services,
    } as const;
    return this.#answer((edges) => reportMap(edges, this.#datagrams(), this.#requests(), places, freeCycle()));
  }

  /** Returns whether an address is one of the addresses of a namespace's owner. */
  isOwn(subject: NetnsId, ip: string, { kind, name }: PeerIdentity): boolean {
    const { find, directory, node } = this.#options;
    const entity = find(subject);
    if (entity === undefined) return false;
    if (entity.kind === 'pod') return directory.find(entity.uid)?.ips.includes(ip) === true;
    if (entity.kind === 'node') return kind === 'node' && name === node;
    return kind === 'local' && name === entity.pod;
  }

  #answer<Report>(report: (edges: FlowEdges) => Promise<Report>): Promise<{ readonly report: Report } | NoFlows> {
    const { supervisor, collection } = this.#options;
    const running = () =>
      supervisor.active().find(({ name, probe }) => name === FLOW_PROBE && probe.edges !== undefined);
    const unavailable = () => whyNoFlows(supervisor.status(), running());
    if (running()?.metrics !== true) return Promise.resolve(unavailable());
    return collection.recent(FRESH_MS, async () => {
      const edges = running()?.probe.edges?.();
      return edges === undefined ? unavailable() : { report: await report(this.#onlyHere(edges)) };
    });
  }

  /** Returns the edges of UDP datagrams; undefined if the probe is disabled. */
  #datagrams(): DatagramEdges | undefined {
    const running = this.#options.supervisor.active().find(({ name, metrics }) => name === UDP_PROBE && metrics);
    const edges = running?.probe.datagrams?.();
    return edges && { ...edges, ...this.#onlyHere(edges) };
  }

  /** Returns the requests of all probes that count them by edge. */
  #requests(): RequestEdges[] {
    const isHere = ({ netns }: { readonly netns: NetnsId }) => !this.#options.isElsewhere(netns);
    return this.#options.supervisor.active().flatMap(({ metrics, probe }) => {
      const edges = metrics ? probe.requests?.() : undefined;
      if (edges === undefined) return [];
      const [rests, connections] = [edges.rests.filter(isHere), edges.connections.filter(isHere)];
      return [{ ...edges, ...this.#onlyHere(edges), rests, connections }];
    });
  }

  /** Returns the peers of the clients' edges of the last collection that may have names by DNS. */
  *clientPeers(): Generator<NamedPeer> {
    for (const { probe } of this.#options.supervisor.active()) {
      for (const all of [probe.edges?.(), probe.requests?.()]) {
        for (const row of all?.edges ?? []) if (mayHaveNames(row)) yield { netns: row.netns, ip: row.peer };
      }
    }
  }

  /** Returns a row without its peer if a rule hides the peer. */
  #withoutHidden<Row extends EdgePlace>(row: Row): Row {
    if (row.peer === null || row.identity === undefined) return row;
    const isHidden = this.#options.privacy.hides(this.#namespaceOf(row.netns), row.identity.namespace);
    return isHidden ? { ...row, peer: HIDDEN_PEER.kind, identity: HIDDEN_PEER } : row;
  }

  /** Returns a row with the names of its peer, or without the peer if a rule hides it. */
  #shown<Row extends EdgePlace>(given: Row): Row {
    const { privacy, names } = this.#options;
    const row = this.#withoutHidden(given);
    if (!names.isOn || !mayHaveNames(row) || !ruleOf(privacy.rules, [this.#namespaceOf(row.netns)]).names) return row;
    const dnsNames = names.of(row.netns, row.peer);
    return dnsNames.length === 0 ? row : { ...row, dnsNames };
  }

  #namespaceOf(netns: NetnsId): string | null {
    return this.#options.find(netns)?.namespace ?? null;
  }

  /**
   * Omits edges that belong to other nodes on this machine, and peers that rules hide. The BPF programs count the
   * sockets of the whole machine.
   */
  #onlyHere<Row extends EdgePlace>(all: Edges<Row>): Edges<Row> {
    const isElsewhere = ({ netns, peer }: Row) =>
      this.#options.isElsewhere(netns) || (netns === UNLISTED && peer !== null);
    const here = (rows: Iterable<Row>, shown = (row: Row) => this.#shown(row)) => ({
      *[Symbol.iterator]() {
        for (const row of rows) if (!isElsewhere(row)) yield shown(row);
      },
    });
    // The sums of ended rows are of several addresses, so they have no names.
    return { ...all, edges: here(all.edges), departed: here(all.departed, (row) => this.#withoutHidden(row)) };
  }

  #ownerOf(netns: NetnsId): FlowOwner | undefined {
    const entity = this.#options.find(netns);
    return entity && { ...entity, workload: this.#workloadOf(entity) };
  }

  #workloadOf({ kind, uid, pod }: Entity): string {
    return kind === 'pod' ? (this.#options.directory.find(uid)?.workload.name ?? pod) : pod;
  }

  /** Returns the identity that an entity has as the peer of another one. */
  #identityOf(entity: Entity | undefined): PeerIdentity {
    const { node, peers } = this.#options;
    if (entity === undefined) return UNKNOWN_PEER;
    const { kind, namespace, pod } = entity;
    if (kind === 'node') return { kind: 'node', namespace: '', name: node };
    if (kind !== 'pod') return { kind: 'local', namespace: '', name: pod };
    return peers.pods
      ? { kind: 'pod', namespace, name: pod }
      : { kind: 'workload', namespace, name: this.#workloadOf(entity) };
  }
}

/** Returns whether the peer of a row is one that its owner may have resolved: a server that has no name of its own. */
function mayHaveNames<Row extends EdgePlace>(row: Row): row is Row & { readonly peer: string } {
  return row.role === 'client' && row.peer !== null && row.identity !== undefined && isNamedByDns(row.identity);
}
