import type { EntityKind } from '#api/words.ts';
import type { NetnsId } from '#core/netns.ts';
import type { ContainerRef } from './cgroup.ts';

/** Digits of a container ID that tools show. */
const SHORT_ID = 12;

/** A Pod or a container, known by one of its processes. */
export interface Claimant {
  readonly kind: 'pod' | 'container';
  /** Pod UID or container ID. */
  readonly uid: string;
}

/** Home of a Pod or a container, seen from a namespace that its processes are in: `node` where it uses the node's network. */
export type Home = 'here' | 'elsewhere' | 'node';

export interface Claim extends Claimant {
  readonly home: Home;
}

/** All evidence of the owner of a namespace. */
export interface Evidence {
  readonly inum: number;
  readonly isNode: boolean;
  /** Owners of the processes in it, that of the oldest process first. */
  readonly claims: readonly Claim[];
  /** Owner at the last look. */
  readonly before: Owner | undefined;
  /** Where the home of that owner is now; of a Pod or a container only. */
  readonly beforeHome: Home | undefined;
  /** Names of its mounts. */
  readonly mounts: readonly string[];
  /** Its oldest process. */
  readonly oldest: { readonly comm: string; readonly pid: number } | undefined;
}

export interface Owner {
  readonly kind: EntityKind;
  /** Name without Kubernetes; empty for the node. */
  readonly name: string;
  /** Pod UID or container ID; empty where there is none. */
  readonly uid: string;
  /** Whether it is, or was, the namespace of the Pod or the container itself, and not one that its processes have made or entered. */
  readonly isHome: boolean;
}

/**
 * Determines the owner of a namespace. The better evidence wins:
 * 1. It is the node's.
 * 2. A process of a Pod or a container that is at home here: of several the known one, then that of the oldest process.
 * 3. It was the home of a Pod or a container whose processes have gone.
 * 4. A process of a Pod or a container that is at home in another namespace: it has made this one, or is a guest.
 * 5. A name of a mount: the known one, then the first in order.
 * 6. A process of a Pod or a container that is at home in the node's network: the namespaces that it makes have names of their own.
 * 7. The oldest process, else the inode number.
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

/** A namespace that has processes of a Pod or a container, or that was its home. */
export interface HomePlace {
  readonly id: NetnsId;
  /** Start of its oldest process in it, in seconds after boot; undefined where none is left. */
  readonly startSeconds: number | undefined;
  /** Whether another owner is in it and nowhere else: only this can be that owner's home. */
  readonly isOthers: boolean;
  /** Whether a container runtime has mounted it for a Pod. */
  readonly isSandbox: boolean;
  /** Creation order: later namespaces have higher numbers; where it is undefined, the oldest process stands in for it. */
  readonly order: number | undefined;
}

/** All evidence of the home of a Pod or a container. */
export interface HomeEvidence {
  /** All of its namespaces except the node's, at least one. */
  readonly places: readonly HomePlace[];
  /** Whether Kubernetes says that it uses the node's network. */
  readonly hostNetwork: boolean | undefined;
  /** Start of its oldest process in the node's namespace; undefined where there is none. */
  readonly nodeStartSeconds: number | undefined;
}

/**
 * Chooses the one namespace that is a Pod's own: the node's, where Kubernetes says so or, without it, where its oldest process is.
 * Otherwise a namespace with processes comes before one without, one that cannot be another's home before others, one that a runtime
 * made for a Pod before others, and an earlier one before a later one.
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

/** Names of containerd and of CRI-O for the namespaces that they make: `cni-<uuid>` and `<uuid>`. */
const SANDBOX_MOUNT = /^(?:cni-)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function isSandboxMount(name: string): boolean {
  return SANDBOX_MOUNT.test(name);
}

/**
 * Returns the Pod or the container of a process. The agent's own container names only the namespace that it is in: namespaces that
 * were made inside it have names of their own.
 * @param own container of the agent
 * @param hasPods whether this machine has Pods of its own: then a process inside a container, or a user's cgroup, is in none of them,
 * whatever name its cgroup has. Otherwise it is in a Pod of a node that is a container, as of kind or k3d.
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
