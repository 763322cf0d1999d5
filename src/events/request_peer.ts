import type { RequestRecord } from '#api/requests.ts';
import type { PeerLookup } from '#peers/peer.ts';

/** Returns the record with the owner of its other end, as far as it is known. */
export function withRequestPeer(request: RequestRecord, lookup: Pick<PeerLookup, 'find'>): RequestRecord {
  const peer = lookup.find(request.role === 'client' ? request.dst : request.src);
  return peer === undefined ? request : { ...request, peer };
}
