import type { EntityKind } from '#api/words.ts';
import type { NetnsId } from '#core/netns.ts';
import type { ContainerRef } from './cgroup.ts';

/** Number of characters of a container ID that tools show. */
const SHORT_ID = 12;

/** A Pod or container, identified from one of its processes. */
export interface Claimant {
  readonly kind: 'pod' | 'container';
  /** Pod UID or container ID. */
  readonly uid: string;
}

/**
 * Location of the home of a Pod or container, relative to a namespace with its processes; `node` if the home is the
 * node's network.
 */
export type Home = 'here' | 'elsewhere' | 'node';

export interface Claim extends Claimant {
  readonly home: Home;
}

/** Everything that determines the owner of a namespace. */
export interface Evidence {
  readonly inum: number;
  readonly isNode: boolean;
  /** Pods and containers with processes in the namespace, in the order of their oldest processes. */
  readonly claims: readonly Claim[];
  /** Previous owner of the namespace. */
  readonly before: Owner | undefined;
  /** Current location of the previous owner's home; undefined unless that owner is a Pod or container. */
  readonly beforeHome: Home | undefined;
  /** Names under which the namespace is mounted. */
  readonly mounts: readonly string[];
  /** The oldest process in the namespace. */
  readonly oldest: { readonly comm: string; readonly pid: number } | undefined;
}

export interface Owner {
  readonly kind: EntityKind;
  /** Name that is used without Kubernetes; empty for the node. */
  readonly name: string;
  /** Pod UID or container ID; empty if there is none. */
  readonly uid: string;
  /** Whether the namespace is or was the home of the owner, rather than one that its processes created or entered. */
  readonly isHome: boolean;
}

/**
 * Determines the owner of a namespace from the best evidence:
 * 1. The node, if it is the node's namespace.
 * 2. A Pod or container with processes here whose home is here: the previous owner, otherwise the one with the oldest
 * process.
 * 3. The previous owner, if the namespace was its home and it no longer has processes here.
 * 4. A Pod or container with processes here whose home is another namespace. It has created or entered this one.
 * 5. The name of a mount: the previous name, otherwise the first in alphabetical order.
 * 6. A Pod or container with processes here that uses the node's network. It has created this one.
 * 7. The name of the oldest process, otherwise the inode number.
 */
export function ownerOf(evidence: Evidence): Owner {
  const { inum, isNode, claims, before, beforeHome, mounts, oldest } = evidence;
  if (isNode) return { kind: 'node', name: '', uid: '', isHome: true };
  const athome = claims.filter(({ home }) => home === 'here');
  const known = athome.find(({ uid }) => before?.isHome === true && uid === before.uid);
  const host = known ?? athome[0];
  if (host !== undefined) return { ...named(host), isHome: true };
  const isLeft = before?.isHome === true && claims.every(({ uid }) => uid !== before.uid);
  if (isLeft && beforeHome !== undefined && beforeHome !== 'node') return before;
  const guest = claims.find(({ home }) => home === 'elsewhere');
  if (guest !== undefined) return { ...named(guest), isHome: false };
  const [first] = [...mounts].sort();
  if (first !== undefined) {
    const isKnown = before?.kind === 'netns' && mounts.includes(before.name);
    return isKnown ? before : { kind: 'netns', name: first, uid: '', isHome: false };
  }
  const maker = claims[0];
  if (maker !== undefined) return { ...named(maker), isHome: false };
  const name = oldest === undefined ? `netns-${inum}` : `${oldest.comm}-${oldest.pid}`;
  return { kind: 'process', name, uid: '', isHome: false };
}

function named({ kind, uid }: Claimant): Omit<Owner, 'isHome'> {
  return { kind, name: kind === 'pod' ? uid : uid.slice(0, SHORT_ID), uid };
}

/** A namespace that has processes of a Pod or container, or was its home. */
export interface HomePlace {
  readonly id: NetnsId;
  /** Start of the owner's oldest process in the namespace, in seconds after boot; undefined if there is none. */
  readonly startSeconds: number | undefined;
  /**
   * Whether another owner has processes in this namespace and nowhere else, so that it must be the home of that owner.
   */
  readonly isOthers: boolean;
  /** Whether a container runtime has mounted the namespace for a Pod. */
  readonly isSandbox: boolean;
  /**
   * Position in the order of creation, ascending; if undefined, the start of the oldest process is compared instead.
   */
  readonly order: number | undefined;
}

/** Everything that determines the home of a Pod or container. */
export interface HomeEvidence {
  /** Namespaces of the Pod or container, except the node's; at least one. */
  readonly places: readonly HomePlace[];
  /** Whether the Pod uses the node's network, according to Kubernetes; undefined if unknown. */
  readonly hostNetwork: boolean | undefined;
  /** Start of the oldest process in the node's namespace, in seconds after boot; undefined if there is none. */
  readonly nodeStartSeconds: number | undefined;
}

/**
 * Chooses the home of a Pod or container. The home is the node's network if Kubernetes reports so or, without a report,
 * if the oldest process is there. Otherwise, the following are preferred in this order: a namespace with processes, one
 * that is not the home of another owner, one that a runtime has mounted for a Pod, and the one that was created first.
 */
export function homeOf({ places, hostNetwork, nodeStartSeconds }: HomeEvidence): NetnsId | 'node' | undefined {
  const [first, ...others] = places;
  if (first === undefined) return undefined;
  const oldest = Math.min(...places.map(({ startSeconds }) => startSeconds ?? Number.POSITIVE_INFINITY));
  if (hostNetwork ?? (nodeStartSeconds !== undefined && nodeStartSeconds < oldest)) return 'node';
  return others.reduce((best, place) => (isBetterHome(place, best) ? place : best), first).id;
}

function isBetterHome(a: HomePlace, b: HomePlace): boolean {
  const [isLive, otherLives] = [a.startSeconds !== undefined, b.startSeconds !== undefined];
  if (isLive !== otherLives) return isLive;
  if (a.isOthers !== b.isOthers) return b.isOthers;
  if (a.isSandbox !== b.isSandbox) return a.isSandbox;
  if (a.order !== undefined && b.order !== undefined) return a.order < b.order;
  const [start, otherStart] = [a.startSeconds ?? Number.POSITIVE_INFINITY, b.startSeconds ?? Number.POSITIVE_INFINITY];
  return start === otherStart ? a.id < b.id : start < otherStart;
}

/** Names of the mounts that containerd and CRI-O create: `cni-<uuid>` and `<uuid>`. */
const SANDBOX_MOUNT = /^(?:cni-)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function isSandboxMount(name: string): boolean {
  return SANDBOX_MOUNT.test(name);
}

/**
 * Returns the Pod or container of a process. Returns undefined for the agent's own container, because users run
 * commands in it that create namespaces, and these are named in other ways.
 * @param own container of the agent
 * @param hasPods whether Pods run directly on this machine. If so, a Pod within a container or a user's slice is not a
 * Pod of this machine. If not, the machine hosts a node in a container, as kind and k3d do.
 */
export function claimantOf(
  ref: ContainerRef | undefined,
  own: ContainerRef | undefined,
  hasPods: boolean,
): Claimant | undefined {
  const { podUid, containerId, within } = ref ?? {};
  if (own?.containerId !== undefined && containerId === own.containerId) return undefined;
  const isOwn = within === undefined || !hasPods;
  if (podUid !== undefined && isOwn) return { kind: 'pod', uid: podUid };
  const uid = podUid === undefined ? containerId : within;
  return uid === undefined || uid === '' ? undefined : { kind: 'container', uid };
}
