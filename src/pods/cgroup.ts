import { ownerLength } from '#bpf/generated/common.ts';

/** Pod and container that a process belongs to, as the path of its cgroup says. */
export interface ContainerRef {
  readonly podUid?: string;
  /** Container below the Pod's cgroup; without a Pod, the outermost container. */
  readonly containerId?: string;
  /**
   * Set where the Pod's cgroup is inside a cgroup that the node does not manage: the ID of that container, or empty for a user or a
   * machine. A process in there may give cgroups any name.
   */
  readonly within?: string;
}

/** Names of the cgroups in a path that say whose it is; empty where there is none. */
export interface OwnerFolders {
  /** The outermost that is a Pod's. */
  readonly pod: string;
  /** The outermost of a container below the Pod; without a Pod, the outermost of a container. */
  readonly container: string;
  /** The cgroup around the Pod: the outermost of a container, or a slice of users or machines. */
  readonly outer: string;
}

const UID = '[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}';
/** Static Pods have a hash of their manifest as UID. */
const STATIC_UID = `[0-9a-f]{${ownerLength.static_pod_uid}}`;
const ID = `[0-9a-f]{${ownerLength.container_id}}`;

/**
 * `pod<uid>` (cgroupfs), `kubepods-besteffort-pod<uid_>.slice` (systemd), and both in one name,
 * `kubepods-besteffort-pod<uid_>.slice:cri-containerd:<id>`: the kubelet names slices and the runtime makes folders.
 */
const POD = new RegExp(`^(?:.*-)?pod(${UID}|${STATIC_UID})(?:\\.slice(?::[^:]{0,23}:(${ID}))?)?$`);
/** `<id>`, `cri-containerd-<id>.scope`, `crio-<id>.scope`, `docker-<id>.scope`, `kata_<id>`, `system.slice:docker:<id>`. */
const CONTAINER = new RegExp(`^(?:.*[-_:])?(${ID})(?:\\.scope)?$`);
/** Cgroups directly below the root in which others than the node may make cgroups. */
const HANDED_OUT = /^(?:user|machine)\.slice$/;

/** A cgroup as a line of /proc/<pid>/cgroup names it. */
export interface CgroupPath {
  /** Hierarchy: controllers as the kernel lists them, or `name=systemd`; empty for cgroup v2. */
  readonly hierarchy: string;
  readonly path: string;
}

/**
 * Reads /proc/<pid>/cgroup (man 7 cgroups): a line `id:controllers:path` for each hierarchy, v1 and v2. Inside a cgroup namespace, the
 * path of another Pod reads `/../../pod<uid>/<id>`.
 */
export function parseCgroup(text: string): ContainerRef | undefined {
  for (const { path } of pathsIn(text)) {
    const ref = ownerOfFolders(foldersOf(path).names);
    if (ref !== undefined) return ref;
  }
  return undefined;
}

/** Returns the cgroups that hold all of a Pod, by its UID, or of a container, by its ID: one for each hierarchy that has the process in it. */
export function cgroupsOf(text: string, uid: string): CgroupPath[] {
  return pathsIn(text).flatMap(({ hierarchy, path }) => {
    const { names, paths } = foldersOf(path);
    const ref = ownerOfFolders(names);
    if (ref?.podUid === uid) return [{ hierarchy, path: paths.pod }];
    if (ref?.within === uid) return [{ hierarchy, path: paths.outer }];
    return ref?.podUid === undefined && ref?.containerId === uid ? [{ hierarchy, path: paths.container }] : [];
  });
}

/** Parses the names of cgroups; returns undefined where none of them is a Pod's or a container's. */
export function ownerOfFolders({ pod, container, outer }: OwnerFolders): ContainerRef | undefined {
  const [, uid, joined] = POD.exec(pod) ?? [];
  const containerId = joined ?? CONTAINER.exec(container)?.[1];
  const ofContainer = containerId === undefined ? {} : { containerId };
  if (uid === undefined) return containerId === undefined ? undefined : ofContainer;
  // systemd does not allow `-` in a slice's name, so the kubelet writes `_`.
  const ofPod = { podUid: uid.replaceAll('_', '-'), ...ofContainer };
  return outer === '' ? ofPod : { ...ofPod, within: CONTAINER.exec(outer)?.[1] ?? '' };
}

/** Returns whether a cgroup of this name is a Pod's or a container's. */
export function isOwnerName(name: string): boolean {
  return POD.test(name) || CONTAINER.test(name);
}

/** Sorts cgroup v2 first, as in the kernel's own list. */
function pathsIn(text: string): CgroupPath[] {
  const paths = text.split('\n').map((line) => {
    const [, hierarchy = '', ...path] = line.split(':');
    return { hierarchy, path: path.join(':') };
  });
  return paths.sort((a, b) => Number(a.hierarchy !== '') - Number(b.hierarchy !== ''));
}

type Folders = { readonly [K in keyof OwnerFolders]: string };

/**
 * Searches from the root, as bpf/common/owner.bpf.h does. The Pod's cgroup is the outermost that may be one: cgroups further in were
 * made by processes inside it.
 */
function foldersOf(path: string): { readonly names: OwnerFolders; readonly paths: Folders } {
  const segments = path.split('/').filter((segment) => segment !== '');
  const find = (what: (segment: string, index: number) => boolean, from = 0): number => {
    const index = segments.slice(from).findIndex((segment, after) => what(segment, from + after));
    return index < 0 ? segments.length : from + index;
  };
  const isPod = (segment: string) => POD.test(segment);
  const isContainer = (segment: string) => !POD.test(segment) && CONTAINER.test(segment);
  const pod = find(isPod);
  const container = find(isContainer, pod === segments.length ? 0 : pod);
  const outer = find((segment, index) => index < pod && isContainer(segment));
  const slice = find((segment, index) => index === 0 && HANDED_OUT.test(segment));
  const within = outer < segments.length ? outer : slice;
  const isWithin = pod < segments.length && within < segments.length;
  const places = { pod, container, outer: isWithin ? within : segments.length };
  const both = (give: (index: number) => string): Folders => ({
    pod: give(places.pod),
    container: give(places.container),
    outer: give(places.outer),
  });
  return {
    names: both((index) => segments[index] ?? ''),
    paths: both((index) => (index < segments.length ? `/${segments.slice(0, index + 1).join('/')}` : '')),
  };
}
