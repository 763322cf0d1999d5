import type { FlowRecord } from '#api/flows.ts';
import type { PeerLookup } from '#peers/peer.ts';

/**
 * Returns the record with the owner and zone of its other end, as far as they are known.
 * @param zone zone of this node; undefined if it is unknown
 */
export function withFlowPeer(
  flow: FlowRecord,
  lookup: Pick<PeerLookup, 'find' | 'identify'>,
  zone: string | undefined,
): FlowRecord {
  const ip = flow.role === 'client' ? flow.dst : flow.src;
  const peer = lookup.find(ip);
  const { zone: peerZone } = lookup.identify(ip);
  return {
    ...flow,
    ...(peer === undefined ? {} : { peer }),
    ...(zone === undefined ? {} : { zone }),
    ...(peerZone === undefined ? {} : { peerZone }),
  };
}
