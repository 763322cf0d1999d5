import type { EntityKind } from '#api/words.ts';
import type { NetnsId } from '#core/netns.ts';
import type { ContainerRef } from './cgroup.ts';

/** Digits of a container ID that tools show. */
const SHORT_ID = 12;

/** A Pod or a container, by a process of it. */
export interface Claimant {
  readonly kind: 'pod' | 'container';
  /** Pod UID or container ID. */
  readonly uid: string;
}

/** Where a Pod or a container is at home, seen from a namespace that its processes are in: `node` where it uses the node's network. */
export type Home = 'here' | 'elsewhere' | 'node';

export interface Claim extends Claimant {
  readonly home: Home;
}

/** All that tells whose a namespace is. */
export interface Evidence {
  readonly inum: number;
  readonly isNode: boolean;
  /** Whose processes are in it, that of the oldest process first. */
  readonly claims: readonly Claim[];
  /** Whose it was at the last look. */
  readonly before: Owner | undefined;
  /** Where that one is at home now; of a Pod or a container only. */
  readonly beforeHome: Home | undefined;
  /** Names of its mounts. */
  readonly mounts: readonly string[];
  /** Its oldest process. */
  readonly oldest: { readonly comm: string; readonly pid: number } | undefined;
}

export interface Owner {
  readonly kind: EntityKind;
  /** Without names from Kubernetes; empty for the node. */
  readonly name: string;
  /** Pod UID or container ID; empty where there is none. */
  readonly uid: string;
  /** It is, or was, the namespace of the Pod or the container itself, and not one that a process of it has made or entered. */
  readonly isHome: boolean;
}

/**
 * Whose a namespace is. The better evidence wins:
 * 1. It is the node's.
 * 2. A process of a Pod or a container that is at home here: of several the one that was known, then that of the oldest process.
 * 3. It was such a one's, whose processes have gone.
 * 4. A process of one that is at home in another namespace: it has made this one, or is a guest.
 * 5. A mount has a name: the one that was known, then the first in order.
 * 6. A process of one that is at home in the node's network: what it makes has names of its own.
 * 7. The oldest process, else the number.
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

/** A namespace that a Pod or a container has processes in, or that was its home. */
export interface HomePlace {
  readonly id: NetnsId;
  /** When its oldest process in it began, in seconds after boot; undefined where none is left. */
  readonly startSeconds: number | undefined;
  /** Somebody else is in it who is in no other: he can only be at home here. */
  readonly isOthers: boolean;
  /** A container runtime has mounted it for a Pod. */
  readonly isSandbox: boolean;
  /** Later namespaces have higher numbers; undefined where that is not known, and the oldest process stands in for it. */
  readonly order: number | undefined;
}

/** All that tells where a Pod or a container is at home. */
export interface HomeEvidence {
  /** All but the node's, at least one. */
  readonly places: readonly HomePlace[];
  /** What Kubernetes says of it. */
  readonly hostNetwork: boolean | undefined;
  /** When its oldest process in the node's namespace began; undefined where there is none. */
  readonly nodeStartSeconds: number | undefined;
}

/**
 * The one namespace of a Pod's that is its own: the node's, where Kubernetes says so or, without it, where its oldest process is; else
 * one with processes before one without, one that can be no other's home, one that a runtime made for a Pod before others, and the first before those
 * that were made later.
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
 * The Pod or the container that a process is of. The agent's own container names only what it is in: namespaces that were made inside of
 * it have names of their own.
 * @param own the agent's
 * @param hasPods this machine has Pods of its own: then who is inside of a container, or of a user's cgroup, is none of them, whatever he
 * has called his cgroup. Where it has none, it is a Pod of a node that is a container, as of kind or k3d.
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
