import { ownerLength } from '#bpf/generated/common.ts';

/** Pod and container of a process, as derived from its cgroup path. */
export interface ContainerRef {
  readonly podUid?: string;
  /** ID of the container within the Pod. If there is no Pod, ID of the outermost container. */
  readonly containerId?: string;
  /**
   * Set if the Pod's cgroup is inside a container or a delegated slice (`user.slice`, `machine.slice`), where processes
   * can create cgroups of any name. The value is the ID of that container, or empty for a slice.
   */
  readonly within?: string;
}

/** Names of those cgroups in a path that identify its owner. A name is empty if there is no such cgroup. */
export interface OwnerFolders {
  /** The outermost cgroup of a Pod. */
  readonly pod: string;
  /** The outermost cgroup of a container: inside the Pod's cgroup or, without a Pod, anywhere in the path. */
  readonly container: string;
  /** A cgroup that contains the Pod's cgroup: the outermost cgroup of a container, or a delegated slice. */
  readonly outer: string;
}

const UID = '[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}';
/** A static Pod has a hash of its manifest as UID. */
const STATIC_UID = `[0-9a-f]{${ownerLength.static_pod_uid}}`;
const ID = `[0-9a-f]{${ownerLength.container_id}}`;

/**
 * Cgroup of a Pod: `pod<uid>` (cgroupfs driver), `kubepods-besteffort-pod<uid_>.slice` (systemd driver), or
 * `kubepods-besteffort-pod<uid_>.slice:cri-containerd:<id>` (systemd driver in the kubelet, cgroupfs in the runtime).
 */
const POD = new RegExp(`^(?:.*-)?pod(${UID}|${STATIC_UID})(?:\\.slice(?::[^:]{0,23}:(${ID}))?)?$`);
/**
 * Cgroup of a container: `<id>`, `cri-containerd-<id>.scope`, `crio-<id>.scope`, `docker-<id>.scope`, `kata_<id>`, or
 * `system.slice:docker:<id>`.
 */
const CONTAINER = new RegExp(`^(?:.*[-_:])?(${ID})(?:\\.scope)?$`);
/** Top-level cgroups that systemd delegates to users and machines. */
const HANDED_OUT = /^(?:user|machine)\.slice$/;

/** A line of /proc/<pid>/cgroup. */
export interface CgroupPath {
  /** Controllers of the hierarchy, as the kernel lists them, or `name=systemd`; empty for cgroup v2. */
  readonly hierarchy: string;
  readonly path: string;
}

/**
 * Parses /proc/<pid>/cgroup (man 7 cgroups), which contains one line `id:controllers:path` for each v1 hierarchy and
 * one for v2. In a cgroup namespace, the path of another Pod is relative: `/../../pod<uid>/<id>`.
 */
export function parseCgroup(text: string): ContainerRef | undefined {
  for (const { path } of pathsIn(text)) {
    const ref = ownerOfFolders(foldersOf(path).names);
    if (ref !== undefined) return ref;
  }
  return undefined;
}

/**
 * Returns the cgroup of a Pod (given its UID) or a container (given its ID) in each hierarchy in which the process
 * belongs to it.
 */
export function cgroupsOf(text: string, uid: string): CgroupPath[] {
  return pathsIn(text).flatMap(({ hierarchy, path }) => {
    const { names, paths } = foldersOf(path);
    const ref = ownerOfFolders(names);
    if (ref?.podUid === uid) return [{ hierarchy, path: paths.pod }];
    if (ref?.within === uid) return [{ hierarchy, path: paths.outer }];
    return ref?.podUid === undefined && ref?.containerId === uid ? [{ hierarchy, path: paths.container }] : [];
  });
}

/** Parses the names of cgroups. Returns undefined if they identify neither a Pod nor a container. */
export function ownerOfFolders({ pod, container, outer }: OwnerFolders): ContainerRef | undefined {
  const [, uid, joined] = POD.exec(pod) ?? [];
  const containerId = joined ?? CONTAINER.exec(container)?.[1];
  const ofContainer = containerId === undefined ? {} : { containerId };
  if (uid === undefined) return containerId === undefined ? undefined : ofContainer;
  // systemd uses `-` to separate the parts of a slice's name, so the kubelet replaces `-` with `_` in UIDs.
  const ofPod = { podUid: uid.replaceAll('_', '-'), ...ofContainer };
  return outer === '' ? ofPod : { ...ofPod, within: CONTAINER.exec(outer)?.[1] ?? '' };
}

/** Whether a cgroup with this name belongs to a Pod or a container. */
export function isOwnerName(name: string): boolean {
  return POD.test(name) || CONTAINER.test(name);
}

/**
 * Whether a cgroup with this name directly below the root is delegated, so that processes of users or virtual machines
 * can create cgroups in it.
 */
export function isHandedOut(name: string): boolean {
  return HANDED_OUT.test(name);
}

/** Returns the paths. The path in cgroup v2 comes first, because that is the hierarchy that the BPF programs read. */
function pathsIn(text: string): CgroupPath[] {
  const paths = text.split('\n').map((line) => {
    const [, hierarchy = '', ...path] = line.split(':');
    return { hierarchy, path: path.join(':') };
  });
  return paths.sort((a, b) => Number(a.hierarchy !== '') - Number(b.hierarchy !== ''));
}

type Folders = { readonly [K in keyof OwnerFolders]: string };

/**
 * Searches from the root, like bpf/common/owner.bpf.h. The outermost matching cgroup is the Pod's, because processes in
 * the Pod can create only nested cgroups.
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
  const slice = find((segment, index) => index === 0 && isHandedOut(segment));
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
