import type { EdgeSummary, FlowsSummary } from '#api/flows.ts';
import type { Labels } from '#core/selector.ts';
import { isPublic } from '#peers/public.ts';
import { Unknown } from '#policies/answer.ts';
import type { Connection } from '#policies/connection.ts';
import { addressEnd, connectionOf, type KnownEnd, unreadPodEnd } from '#policies/ends.ts';
import { type Address, parseAddress } from '#policies/network.ts';
import type { ServiceFacts } from '#policies/objects.ts';
import { type AgentAddress, AgentClient, parseJson, type Query } from '../agent_client.ts';
import type { World } from './world.ts';

const PATH = '/api/v1/flows';
/** Maximum number of edges to request from an agent. */
const LIMIT = '20000';

/** An edge that an agent has reported, with both of its ends. */
export interface Seen {
  readonly edge: EdgeSummary;
  readonly client: KnownEnd;
  readonly server: KnownEnd;
  readonly connection: Connection;
}

/**
 * Reads the edges of an agent.
 * @throws if the agent cannot be reached, or does not count flows
 */
export async function readEdges(address: AgentAddress, query: Query, signal: AbortSignal): Promise<FlowsSummary> {
  const client = await AgentClient.open(address);
  const { FLOWS_SUMMARY } = await import('#api/flows.ts');
  const { data } = FLOWS_SUMMARY.safeParse(parseJson(await client.read(PATH, { ...query, limit: LIMIT }, signal)));
  if (data === undefined) throw new Error('the response cannot be parsed, because the agent has a different version');
  return data;
}

/** Whether a connection of the edge was established. */
export function isEstablished({ connections, open }: EdgeSummary): boolean {
  return connections > 0 || open > 0;
}

/**
 * Returns the ends of an edge; undefined if no policy can apply to it, because it belongs to no Pod, connects a Pod to
 * itself, or has no peer address.
 */
export async function seenOf(world: World, edge: EdgeSummary): Promise<Seen | undefined> {
  const { namespace, pod, role, peerKind } = edge;
  if (!namespace || !pod || peerKind === 'self') return undefined;
  const own = (await world.pod(namespace, pod)) ?? unreadPodEnd(namespace, pod, undefined);
  const peer = await peerOf(world, edge);
  if (peer === undefined) return undefined;
  const [client, server] = role === 'client' ? [own, peer.end] : [peer.end, own];
  const given = connectionOf(client, server, 'TCP', peer.port);
  const isAssumed = world.isWhole && given.isFromOwnNode instanceof Unknown;
  return { edge, client, server, connection: isAssumed ? { ...given, isFromOwnNode: false } : given };
}

/** The peer of an edge, and the port of the server; the port is undefined if it is unknown. */
interface KnownPeer {
  readonly end: KnownEnd;
  readonly port: number | undefined;
}

async function peerOf(world: World, edge: EdgeSummary): Promise<KnownPeer | undefined> {
  const { peer, peerKind, peerNamespace, peerName } = edge;
  const address = parseAddress(peer);
  if (address === undefined) return undefined;
  const port = edge.port ?? undefined;
  const known = peerKind === 'pod' ? await world.pod(peerNamespace, peerName) : undefined;
  const found = known ?? (await world.address(address));
  if (found.end.pod !== undefined) return { end: found, port };
  switch (peerKind) {
    case 'service':
      return servicePeer(edge, address, await world.service(peerNamespace, peerName));
    case 'pod':
    case 'workload': {
      const name = `${peerNamespace}/${peerName}${peerKind === 'pod' ? '' : ` (${peer})`}`;
      return { end: somePod(edge, name, [address], undefined), port };
    }
    case 'node':
      return { end: { end: { ...found.end, isPod: false, isNode: true } }, port };
    case 'external':
      return { end: { end: { ...found.end, isPod: false, isNode: false } }, port };
    default:
      return { end: addressEnd(address, isPublic(peer) ? false : found.end.isPod, undefined), port };
  }
}

/**
 * Returns a Pod of a Service. It has at least the labels of the Service's selector. If the edge has the address of the
 * Service, the address of the Pod is unknown, and its port is the target port of the Service.
 */
function servicePeer(edge: EdgeSummary, address: Address, service: ServiceFacts | undefined): KnownPeer {
  const { role, peer, peerNamespace, peerName } = edge;
  const port = edge.port ?? undefined;
  const name = `Service ${peerNamespace}/${peerName}`;
  const isPod = role === 'server' || service?.addresses.every(({ text }) => text !== address.text) === true;
  if (isPod) return { end: somePod(edge, `${name} (${peer})`, [address], service?.selector), port };
  const found = service?.ports.find((one) => one.port === port && one.protocol === 'TCP');
  return { end: somePod(edge, name, undefined, service?.selector), port: found?.target };
}

/**
 * Returns a Pod whose labels are not all known.
 * @param addresses addresses of the Pod, which are not addresses of a node; undefined if they are unknown
 */
function somePod(
  { peerNamespace, peerName }: EdgeSummary,
  name: string,
  addresses: readonly Address[] | undefined,
  labels: Labels | undefined,
): KnownEnd {
  const { end } = unreadPodEnd(peerNamespace, peerName, undefined);
  // An edge to a Pod in the network of its node would have the peer kind `node`.
  const isNode = addresses === undefined ? end.isNode : false;
  const pod = end.pod && { ...end.pod, isHostNetwork: isNode, labels: { values: labels ?? {}, isComplete: false } };
  return { end: { ...end, name, addresses, pod, isNode } };
}
