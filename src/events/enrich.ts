import { endsOf } from '#api/event_ends.ts';
import type { EventRecord, Peer } from '#api/events.ts';
import { addressOf } from '#core/address.ts';
import type { PeerLookup } from '#peers/peer.ts';

/** Type of the events that name both ends, because a node that forwards a packet is neither of them. */
const DROP = 'packet_drop';

interface Names {
  readonly peer?: Peer | undefined;
  /** Owner of the source address. */
  readonly from?: Peer | undefined;
  /** Owner of the destination address. */
  readonly to?: Peer | undefined;
}

/**
 * Returns the owners of an event's addresses, and which of them is the peer. Names that are uncertain are left out.
 * @param node name of this node
 */
function namesIn(event: EventRecord, node: string, lookup: PeerLookup): Names {
  const { namespace, pod } = event;
  const { src, dst } = endsOf(event);
  if (dst === undefined || namespace === null || pod === null) return {};
  const from = ownerOf(src, lookup);
  const to = ownerOf(dst, lookup);
  const isNode = namespace === '' && pod === '';
  const isSelf = (peer: Peer | undefined) =>
    isNode
      ? peer?.kind === 'node' && peer.name === node
      : (peer?.kind === 'pod' || peer?.kind === 'local') && peer.namespace === namespace && peer.name === pod;
  if (isSelf(from)) return { from, to, peer: isSelf(to) ? undefined : to };
  if (isSelf(to)) return { from, to, peer: from };
  // The node forwards this packet for other hosts. The destination is more informative than the source.
  if (isNode) return { from, to, peer: to ?? from };
  // Neither end is known to be this Pod, so the peer is uncertain.
  if (from !== undefined && to !== undefined) return {};
  const other = from ?? to;
  // A peer on this node may be the event's own Pod, if the address was reassigned a moment ago.
  const isNear = other?.kind === 'local' || (other?.kind === 'pod' && lookup.isLocal(other.namespace, other.name));
  return isNear ? {} : { from, to, peer: other };
}

/** @param end undefined for the source of an event about a neighbour, which has only a destination */
function ownerOf(end: string | undefined, lookup: PeerLookup): Peer | undefined {
  return end === undefined ? undefined : lookup.find(addressOf(end));
}

/** Returns the event with its peer and, for a dropped packet, the owners of both addresses, as far as they are known. */
export function withPeers(event: EventRecord, node: string, lookup: PeerLookup): EventRecord {
  const { peer, from, to } = namesIn(event, node, lookup);
  const { time, probe, type, severity, node: own, netns, namespace, pod, labels, ...rest } = event;
  const isDrop = type === DROP;
  return {
    ...{ time, probe, type, severity, node: own, netns, namespace, pod },
    ...(labels === undefined ? {} : { labels }),
    ...(peer === undefined ? {} : { peer }),
    ...(isDrop && from !== undefined ? { srcOwner: from } : {}),
    ...(isDrop && to !== undefined ? { dstOwner: to } : {}),
    ...rest,
  };
}
