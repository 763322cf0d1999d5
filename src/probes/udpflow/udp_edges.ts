import { addCounters } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import type { DatagramEdges, DatagramTotals } from '#probe/flow_edges.ts';
import { type PeerEdge, PeerEdges } from '#probe/peer_edges.ts';
import type { PeersFollower } from '#probe/peers.ts';
import { type EdgeLabels, UDP_COUNTS, type UdpCounts } from './udp_rows.ts';

export type UdpEdge = PeerEdge<EdgeLabels, UdpCounts>;

/** Edges of the last collection, for the API. */
export class UdpEdges extends PeerEdges<EdgeLabels, UdpCounts, DatagramTotals> {
  /** @param isForgotten returns whether nothing is known any more about the owner of a namespace */
  constructor(peers: PeersFollower<UdpEdge>, isForgotten: (netns: NetnsId) => boolean) {
    super(
      {
        ...UDP_COUNTS,
        endsOf: ({ role, peer, port }) =>
          role === 'client' || role === 'server' ? { role, peer, port: Number(port) } : undefined,
        totalsOf: (place, counts) => ({ ...place, ...counts }),
        add: addDatagrams,
      },
      peers,
      isForgotten,
    );
  }

  /** Edges with the bytes of all rest rows; undefined before the first collection. */
  get datagrams(): DatagramEdges | undefined {
    const { last } = this;
    if (last === undefined) return undefined;
    const restBytes = last.rests.reduce(
      (sum, { counts }) => sum + Number(counts.sentBytes) + Number(counts.receivedBytes),
      0,
    );
    return { ...last, restBytes };
  }
}

/** Adds the totals of two edges. All other fields are taken from the first edge. */
function addDatagrams(a: DatagramTotals, b: DatagramTotals): DatagramTotals {
  return {
    ...a,
    sentBytes: addCounters(a.sentBytes, b.sentBytes),
    receivedBytes: addCounters(a.receivedBytes, b.receivedBytes),
    sentDatagrams: addCounters(a.sentDatagrams, b.sentDatagrams),
    receivedDatagrams: addCounters(a.receivedDatagrams, b.receivedDatagrams),
  };
}
