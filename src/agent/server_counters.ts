import type { CountersReport } from '#api/counters.ts';
import type { ReadCounters, ServerCounters } from '#events/incidents/server_counters.ts';
import type { CountersSelection } from '#kernel/counters.ts';
import type { PeerLookup } from '#peers/peer.ts';

/**
 * Returns a function that reads the counters of the owner of an address, if the owner is on this node.
 * @param node name of this node
 * @param ask sends the request to the kernel thread
 */
export function readServerCounters(
  node: string,
  peers: PeerLookup,
  ask: (selection: CountersSelection) => Promise<CountersReport>,
): ReadCounters {
  return async (address) => {
    const place = placeOf(address, node, peers);
    if (place === undefined) return undefined;
    const { namespaces } = await ask(place);
    return namespaces.length === 0 ? undefined : sumOf(namespaces);
  };
}

/** Returns the owner as metrics name it; undefined if it is unknown or is not on this node. */
function placeOf(address: string, node: string, peers: PeerLookup): CountersSelection | undefined {
  const peer = peers.find(address);
  switch (peer?.kind) {
    case 'pod':
      return peers.isLocal(peer.namespace, peer.name) ? { namespace: peer.namespace, pod: peer.name } : undefined;
    case 'local':
      return { namespace: '', pod: peer.name };
    case 'node':
      return peer.name === node ? { namespace: '', pod: '' } : undefined;
    default:
      return undefined;
  }
}

function sumOf(namespaces: CountersReport['namespaces']): ServerCounters {
  const sum = (table: string, field: string) =>
    namespaces.reduce((total, { tables }) => total + (tables[table]?.[field] ?? 0), 0);
  return {
    overflows: sum('TcpExt', 'ListenOverflows'),
    drops: sum('TcpExt', 'ListenDrops'),
    noRoutes: sum('Ip', 'OutNoRoutes') + sum('Ip6', 'OutNoRoutes'),
  };
}
