import type { EntityKind } from '#api/words.ts';
import type { NetnsId } from '#core/netns.ts';
import type { ContainerRef } from './cgroup.ts';

/** Number of characters of a container ID that most tools show. */
const SHORT_ID = 12;

/** A Pod or container that one of its processes identifies. */
export interface Claimant {
  readonly kind: 'pod' | 'container';
  /** Pod UID or container ID. */
  readonly uid: string;
}

/**
 * Where the home of a Pod or container is, from the perspective of a namespace that contains its processes: in this
 * namespace, in another one, or in the node's namespace.
 */
export type Home = 'here' | 'elsewhere' | 'node';

export interface Claim extends Claimant {
  readonly home: Home;
}

/** Facts that determine the owner of a namespace. */
export interface Evidence {
  readonly inum: number;
  readonly isNode: boolean;
  /** Pods and containers with processes in the namespace, ordered by the start of their oldest processes. */
  readonly claims: readonly Claim[];
  /** Owner of the namespace before this decision. */
  readonly before: Owner | undefined;
  /** Current location of the previous owner's home; undefined unless that owner is a Pod or container. */
  readonly beforeHome: Home | undefined;
  /** Names of the mounts of the namespace. */
  readonly mounts: readonly string[];
  /** The oldest process in the namespace. */
  readonly oldest: { readonly comm: string; readonly pid: number } | undefined;
}

export interface Owner {
  readonly kind: EntityKind;
  /** Name that is used if Kubernetes provides none; empty for the node. */
  readonly name: string;
  /** Pod UID or container ID; empty if there is none. */
  readonly uid: string;
  /** Whether the namespace is or was the home of the owner, as opposed to one that its processes created or entered. */
  readonly isHome: boolean;
}

/**
 * Determines the owner of a namespace. The first of these rules that applies is decisive:
 * 1. The node, if it is the node's namespace.
 * 2. A Pod or container with processes here whose home is here: the previous owner, otherwise the one with the oldest
 *    process.
 * 3. The previous owner, if the namespace was its home and it no longer has processes here.
 * 4. A Pod or container with processes here whose home is another namespace. It has created or entered this one.
 * 5. The name of a mount: the previous name, otherwise the first in alphabetical order.
 * 6. A Pod or container with processes here that shares the node's namespace. It has created this one.
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

/** A namespace that contains processes of a Pod or container, or was its home. */
export interface HomePlace {
  readonly id: NetnsId;
  /** Start of the owner's oldest process in the namespace, in seconds after boot; undefined if there is none. */
  readonly startSeconds: number | undefined;
  /** Whether another owner has processes in this namespace and nowhere else. It must then be the home of that owner. */
  readonly isOthers: boolean;
  /** Whether a container runtime has mounted the namespace for a Pod. */
  readonly isSandbox: boolean;
  /**
   * Position of the namespace in the order of creation, ascending. If undefined, the start of the oldest process is
   * compared instead.
   */
  readonly order: number | undefined;
}

/** Facts that determine the home of a Pod or container. */
export interface HomeEvidence {
  /** Namespaces of the Pod or container other than the node's. There is at least one. */
  readonly places: readonly HomePlace[];
  /** Whether the Pod uses the node's network, according to Kubernetes; undefined if unknown. */
  readonly hostNetwork: boolean | undefined;
  /** Start of the oldest process in the node's namespace, in seconds after boot; undefined if there is none. */
  readonly nodeStartSeconds: number | undefined;
}

/**
 * Chooses the home of a Pod or container. The home is the node's namespace if Kubernetes reports so. If Kubernetes has
 * not reported the Pod, it is the node's namespace if the oldest process is there. Otherwise, the following namespaces
 * are preferred in this order: one with processes, one that is not the home of another owner, one that a runtime has
 * mounted for a Pod, and the one that was created first.
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
 * commands in it that create namespaces, and these namespaces are named after their mount or process.
 * @param own container of the agent
 * @param hasPods whether Pods run directly on this machine. If they do, a Pod within a container or a delegated slice
 *   does not belong to this node. If not, the machine hosts a node in a container, as with kind and k3d.
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
