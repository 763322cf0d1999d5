import type { NetnsId } from '#core/netns.ts';
import type { PeerIdentity } from './peer_identity.ts';
import type { Translation } from './translation.ts';

/** Reasons why a peer has no identity. */
export const UNRESOLVED = ['unknown', 'pending', 'unanswered', 'changed', 'no_room'] as const;
export type Unresolved = (typeof UNRESOLVED)[number];

/** A row of traffic with one peer. */
export interface PeerRow {
  readonly place: {
    readonly netns: NetnsId;
    /** Address of the peer in the format of `formatIp`. */
    readonly peer: string;
    /** Port of the server; undefined for a rest row, whose peer is unknown. */
    readonly port: number | undefined;
  };
  /** Identity of the peer; undefined until `find` has set it. */
  identity: PeerIdentity | undefined;
  /** Knowledge about the real end behind a translated address; undefined if there is none. */
  readonly translation?: Pick<Translation, 'address' | 'next'> | undefined;
}

/**
 * Identifies the peers of rows. The identities come from the main thread, so each address is requested only once, on
 * behalf of all probes.
 */
export interface Peers {
  follow<Row extends PeerRow>(use: PeersUse<Row>): PeersFollower<Row>;
}

export interface PeersUse<Row extends PeerRow> {
  /**
   * Whether peers are named by Pod instead of by workload. Since an address has the same name for all probes, this
   * applies to all of them as soon as one probe requests it.
   */
  readonly pods: boolean;
  /** Returns the namespace under which the row is shown. */
  subjectOf(row: Row): NetnsId;
}

/** Identities of the peers of a probe's rows. */
export interface PeersFollower<Row extends PeerRow> extends Disposable {
  /** Must be called before each update of the rows. */
  begin(): void;
  /** Returns whether the identity of a row's peer has changed since it was assigned. */
  isStale(row: Row): boolean;
  /**
   * Returns the identity to which the increase of a row in this update is attributed.
   * @param isGrown whether the row has increased; if not, the identity applies to future increases
   */
  of(row: Row, isGrown: boolean): PeerIdentity;
  /**
   * Sets the identity of each row that has none, and forgets addresses without rows. Waits a short time for answers. A
   * row is attributed to the unknown peer until the identity of its address is known.
   */
  find(rows: readonly Row[]): Promise<void>;
  /**
   * Returns whether the address of a row's peer may be a translation of another one: that of a node, or one that
   * nothing is known to have.
   */
  mayBeTranslated(row: Row): boolean;
  /** Number of addresses without an identity at the last call of `find`, by reason. */
  unresolved(): Readonly<Record<Unresolved, number>>;
}

/** The unknown peer. All rows use this same object, so that identities can be compared by reference. */
export const UNKNOWN_PEER: PeerIdentity = { kind: 'unknown', namespace: '', name: '' };
/** The peer of connections from an entity to one of its own addresses. All rows use this same object. */
export const SELF_PEER: PeerIdentity = { kind: 'self', namespace: '', name: '' };

/** Stands for peers that a rule of `privacy` hides. */
export const HIDDEN_PEER: PeerIdentity = { kind: 'hidden', namespace: '', name: '' };

/** Returns whether an address in the format of `formatIp` is a loopback address (RFC 1122, RFC 4291). */
export function isLoopback(ip: string): boolean {
  return ip.startsWith('127.') || ip === '::1';
}

export function isSamePeer(a: PeerIdentity, b: PeerIdentity): boolean {
  return a.kind === b.kind && a.namespace === b.namespace && a.name === b.name && a.zone === b.zone;
}
