import type { EventRecord, Peer } from '#api/events.ts';
import { addressOf } from '#core/address.ts';
import type { PeerLookup } from '#peers/peer.ts';
import { isPublic } from '#peers/public.ts';

export interface PeerContext extends PeerLookup {
  /** Name of this node. */
  readonly node: string;
}

/** Returns the peer of an event; undefined if it is uncertain. */
export function peerOf(event: EventRecord, context: PeerContext): Peer | undefined {
  const { src, dst, namespace, pod } = event;
  if (src === undefined || dst === undefined || namespace === null || pod === null) return undefined;
  const from = resolve(addressOf(src), context);
  const to = resolve(addressOf(dst), context);
  const isNode = namespace === '' && pod === '';
  const isSelf = (peer: Peer | undefined) =>
    isNode
      ? peer?.kind === 'node' && peer.name === context.node
      : peer?.kind === 'pod' && peer.namespace === namespace && peer.name === pod;
  if (isSelf(from)) return isSelf(to) ? undefined : to;
  if (isSelf(to)) return from;
  // The node forwards this packet for other hosts. The destination is more informative than the source.
  if (isNode) return to ?? from;
  // Neither end is known to be this Pod, so the peer is uncertain.
  if (from !== undefined && to !== undefined) return undefined;
  const other = from ?? to;
  // A peer Pod on this node may be the event's own Pod, if the address was reassigned a moment ago.
  const isNear = other?.kind === 'pod' && context.isLocal(other.namespace, other.name);
  return isNear ? undefined : other;
}

function resolve(ip: string, { find, isExternal }: PeerContext): Peer | undefined {
  const peer = find(ip);
  if (peer !== undefined) return peer;
  // A private address without an owner may still belong to the cluster, for example to a Pod without a Service.
  return isExternal !== undefined && isPublic(ip) && isExternal(ip)
    ? { kind: 'external', namespace: '', name: '', ip }
    : undefined;
}

/** Returns the event with its peer added, if the peer is known. */
export function withPeer(event: EventRecord, context: PeerContext): EventRecord {
  const peer = peerOf(event, context);
  if (peer === undefined) return event;
  const { time, probe, type, severity, node, netns, namespace, pod, labels, ...rest } = event;
  const head = { time, probe, type, severity, node, netns, namespace, pod };
  return { ...head, ...(labels === undefined ? {} : { labels }), peer, ...rest };
}
