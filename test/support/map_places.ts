import type { NetnsId } from '#core/netns.ts';
import type { MapPlaces } from '#kernel/flow_map.ts';
import type { PeerIdentity } from '#probe/peer_identity.ts';
import { UNKNOWN_PEER } from '#probe/peers.ts';

/** Returns the identity of a workload in the namespace `shop`. */
export function workload(name: string, zone?: string): PeerIdentity {
  return { kind: 'workload', namespace: 'shop', name, ...(zone === undefined ? {} : { zone }) };
}

/** Returns the `MapPlaces` of a node whose namespaces have these owners and whose Pods have addresses in 10.1.0.0/16. */
export function placesOf(owners: ReadonlyMap<NetnsId, PeerIdentity>): MapPlaces {
  return {
    node: 'n1',
    zone: 'a',
    ephemeral: { first: 32_768, last: 60_999 },
    ownerOf: (netns) => owners.get(netns) ?? UNKNOWN_PEER,
    isHere: ({ peer }) => peer?.startsWith('10.1.') === true,
    dnsNames: false,
    services: [],
  };
}
