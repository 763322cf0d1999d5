import type { Peer } from '#api/events.ts';
import { parseIp } from '#core/address.ts';
import type { PeerIdentity } from '#probe/peer_identity.ts';
import type { Owner } from './claims.ts';
import { type ExternalConfig, ExternalNames, NO_EXTERNAL } from './external.ts';
import type { LocalOwner, OwnerListener, Owners, PeerLookup, ServiceWorkload } from './peer.ts';
import { isPublic } from './public.ts';

const UNKNOWN: PeerIdentity = { kind: 'unknown', namespace: '', name: '' };
const PENDING: PeerIdentity = { kind: 'pending', namespace: '', name: '' };

/**
 * Names the owners of addresses. There is only one resolver, so the names in metrics, events, records and the web page
 * are consistent.
 */
export class PeerResolver implements PeerLookup {
  readonly #owners: () => Owners | undefined;
  #external = new ExternalNames(NO_EXTERNAL);
  readonly #listeners = new Set<OwnerListener>();

  /** @param owners returns the source of owners at the moment; undefined if `peers` is `off` */
  constructor(owners: () => Owners | undefined) {
    this.#owners = owners;
  }

  set external(config: ExternalConfig) {
    this.#external = new ExternalNames(config);
    this.changed();
  }

  /**
   * Notifies the listeners that the identity of an address may have changed. Without an address, all identities may
   * have changed.
   */
  changed(ip?: string): void {
    for (const listener of this.#listeners) listener(ip);
  }

  /** Calls `listener` for each change until disposed. */
  follow(listener: OwnerListener): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  find(ip: string): Peer | undefined {
    const owners = this.#owners();
    if (owners === undefined) return undefined;
    const owner = owners.find(ip);
    if (owner !== undefined) return peerOf(owner, ip);
    // A Service or Pod whose owner has not been read may have an address of a named network.
    const name = owners.isPending() ? undefined : this.#outsideName(owners, ip);
    return name === undefined ? undefined : { kind: 'external', namespace: '', name, ip };
  }

  identify(ip: string): PeerIdentity {
    const owners = this.#owners();
    const owner = owners?.find(ip);
    if (owner !== undefined) return identityOf(owner);
    if (owners?.isPending() === true) return PENDING;
    const name = this.#outsideName(owners, ip);
    return name === undefined ? UNKNOWN : { kind: 'external', namespace: '', name };
  }

  /** Returns the known workloads behind Services. */
  serviceWorkloads(): readonly ServiceWorkload[] {
    return this.#owners()?.serviceWorkloads() ?? [];
  }

  isLocal(namespace: string, pod: string): boolean {
    return this.#owners()?.isLocal(namespace, pod) === true;
  }

  /** Returns the name of an address outside of the cluster; undefined if the address may be inside it. */
  #outsideName(owners: Owners | undefined, given: string): string | undefined {
    const ip = parseIp(given);
    if (ip === undefined) return undefined;
    const name = this.#external.nameOf(ip);
    if (name !== undefined) return name;
    // A private address without a known owner may still belong to the cluster, for example to a Pod without a Service.
    return isPublic(ip) && owners?.isOutside(ip) === true ? this.#external.groupOf(ip) : undefined;
  }
}

function peerOf(owner: Owner | LocalOwner, ip: string): Peer {
  if (owner.kind === 'local') return { kind: 'local', namespace: '', name: owner.name, ip };
  const { kind, namespace, name, group } = owner;
  switch (kind) {
    case 'node':
    case 'service':
      return { kind, namespace, name, ip };
    case 'pod':
      return { kind, namespace, name, ...(group === '' ? {} : { workload: group }), ip };
    case 'endpoint':
      return { kind: 'pod', namespace, name, ...(group === '' ? {} : { service: group }), ip };
  }
}

function identityOf(owner: Owner | LocalOwner): PeerIdentity {
  if (owner.kind === 'local') return { kind: 'local', namespace: '', name: owner.name };
  const { kind, namespace, name, group } = owner;
  const zone = owner.zone === '' ? {} : { zone: owner.zone };
  switch (kind) {
    case 'node':
    case 'service':
      return { kind, namespace, name, ...zone };
    case 'pod':
    case 'endpoint': {
      // The name of a Pod does not reveal its workload, so an endpoint gets the identity of the Service that lists it.
      if (group === '') return { kind: 'pod', namespace, name, ...zone, pod: name };
      return { kind: kind === 'pod' ? 'workload' : 'service', namespace, name: group, ...zone, pod: name };
    }
  }
}
