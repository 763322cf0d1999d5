import type { Counts } from './apps/counts.ts';
import type { FaultName } from './faults.ts';
import { addCounts, type CountsByKey, NO_COUNTS } from './log_counts.ts';
import { NODE_PORT, NODES, OUTSIDE, SHOP_IP, WORKLOADS } from './plan.ts';
import type { Member, Outsider, Shop } from './shop.ts';

/** One end of a connection, with its name in Kubernetes. Hosts outside of the cluster have no namespace. */
export interface TrueEnd {
  readonly kind: 'service' | 'workload' | 'external';
  readonly namespace: string;
  readonly name: string;
}

/** Connections from a workload to a Service or a host, as the client counted them. */
export interface TrueEdge extends Counts {
  readonly client: TrueEnd;
  readonly server: TrueEnd;
  /** Workload that the Service selects; `server` itself if it is a host. */
  readonly behind: TrueEnd;
  /** Address and port to which the client connected. */
  readonly address: string;
  readonly port: number;
  /** Whether the counts of all of the client's programs are up to date. */
  readonly isCurrent: boolean;
}

/** Connections that a Pod or host accepted, according to its own counts. */
export interface TrueServer extends Counts {
  readonly server: TrueEnd;
  /** Name of the Pod or host. */
  readonly pod: string;
  readonly ip: string;
  readonly port: number;
  /** Whether the server also counts bytes. If not, the byte counts are 0. */
  readonly hasBytes: boolean;
  readonly isCurrent: boolean;
}

export interface Truth {
  readonly faults: readonly FaultName[];
  readonly edges: readonly TrueEdge[];
  readonly servers: readonly TrueServer[];
  /** Numbers of requests by clients outside of the cluster, by outcome. */
  readonly requests: Readonly<Record<string, number>>;
}

interface Told {
  readonly end: TrueEnd;
  readonly pod: string;
  readonly ip: string;
  readonly clients: CountsByKey;
  readonly servers: CountsByKey;
  readonly requests: Readonly<Record<string, number>>;
  readonly hasBytes: boolean;
  readonly isCurrent: boolean;
}

/** Adds up the totals that a shop's programs have counted themselves, including those of Jobs that have ended. */
export class TruthTeller {
  readonly #ended = new Map<string, { end: TrueEnd; clients: CountsByKey }>();

  async tell({ members, outsiders, faults }: Pick<Shop, 'members' | 'outsiders' | 'faults'>): Promise<Truth> {
    const told = await Promise.all([...members.map(tellMember), ...outsiders.map(tellOutsider)]);
    const edges = new Map<string, TrueEdge>();
    const ended = [...this.#ended.values()].map((each) => ({ ...each, isCurrent: true }));
    for (const { end, clients, isCurrent } of [...told, ...ended]) {
      for (const [address, counts] of Object.entries(clients)) {
        const key = `${end.namespace}/${end.name} ${address}`;
        edges.set(key, addEdge(edges.get(key), end, address, counts, isCurrent));
      }
    }
    const requests: Record<string, number> = {};
    for (const { end, requests: more } of told) {
      if (end.kind !== 'external') continue;
      for (const [outcome, count] of Object.entries(more)) requests[outcome] = (requests[outcome] ?? 0) + count;
    }
    return { faults, edges: [...edges.values()], servers: told.flatMap(serversOf), requests };
  }

  /** Keeps the totals of a Pod that is about to be removed. */
  keep({ pod, facts: { plan } }: Member): void {
    const { namespace, name } = plan;
    const key = `${namespace}/${name}`;
    const kept = this.#ended.get(key) ?? { end: { kind: 'workload', namespace, name }, clients: {} };
    for (const [address, counts] of Object.entries(pod.report?.clients ?? {})) addCounts(kept.clients, address, counts);
    this.#ended.set(key, kept);
  }
}

async function tellMember({ pod, facts: { plan, ip }, log }: Member): Promise<Told> {
  const end = { kind: 'workload', namespace: plan.namespace, name: plan.name } as const;
  if (plan.engine !== 'app') return { ...fromLog(log), end, pod: pod.given.name, ip };
  const { report, isCurrent } = await pod.askReport();
  const { clients = {}, servers = {}, requests = {} } = report ?? {};
  return { end, pod: pod.given.name, ip, clients, servers, requests, hasBytes: true, isCurrent };
}

async function tellOutsider({ pod, plan: { name, ip }, log }: Outsider): Promise<Told> {
  const end = { kind: 'external', namespace: '', name } as const;
  if (name === 'dns' || name === 'payments') return { ...fromLog(log), end, pod: name, ip };
  const { report, isCurrent } = await pod.askReport();
  const { clients = {}, servers = {}, requests = {} } = report ?? {};
  return { end, pod: name, ip, clients, servers, requests, hasBytes: true, isCurrent };
}

function fromLog({ clients, servers, hasBytes }: Member['log']): Omit<Told, 'end' | 'pod' | 'ip'> {
  return { clients, servers, requests: {}, hasBytes, isCurrent: true };
}

function addEdge(
  before: TrueEdge | undefined,
  client: TrueEnd,
  address: string,
  counts: Counts,
  isCurrent: boolean,
): TrueEdge {
  const sums: CountsByKey = { sum: before ?? NO_COUNTS };
  addCounts(sums, 'sum', counts);
  const [ip = '', port = ''] = address.split(':');
  const ends = endsOf(ip, Number(port));
  return {
    client,
    ...ends,
    address: ip,
    port: Number(port),
    ...(sums['sum'] ?? NO_COUNTS),
    isCurrent: isCurrent && before?.isCurrent !== false,
  };
}

/**
 * Returns the Service or host at an address, and the workload behind it. @throws if the plan has nothing at this
 * address
 */
function endsOf(ip: string, port: number): { server: TrueEnd; behind: TrueEnd } {
  const isPublicAddress = ip === SHOP_IP || (port === NODE_PORT && NODES.some((node) => node.ip === ip));
  for (const { namespace, name, service } of WORKLOADS) {
    if (service === undefined) continue;
    if (ip !== service.ip && !(isPublicAddress && service.isPublic === true)) continue;
    return {
      server: { kind: 'service', namespace, name: service.name },
      behind: { kind: 'workload', namespace, name },
    };
  }
  const host = OUTSIDE.find((each) => each.ip === ip);
  if (host === undefined) throw new Error(`nothing is planned at ${ip}:${port}`);
  const end = { kind: 'external', namespace: '', name: host.name } as const;
  return { server: end, behind: end };
}

function serversOf({ end, pod, ip, servers, hasBytes, isCurrent }: Told): TrueServer[] {
  return Object.entries(servers).map(([port, counts]) => ({
    server: end,
    pod,
    ip,
    port: Number(port),
    hasBytes,
    isCurrent,
    ...counts,
  }));
}
