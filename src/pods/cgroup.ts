import { ownerLength } from '#bpf/generated/common.ts';

/** What a process's cgroup path says of whom it belongs to. */
export interface ContainerRef {
  readonly podUid?: string;
  readonly containerId?: string;
}

const UID = '[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}';
/** Static Pods have a hash of their manifest as UID. */
const STATIC_UID = `[0-9a-f]{${ownerLength.static_pod_uid}}`;

/** `pod<uid>` (cgroupfs), `kubepods-besteffort-pod<uid_>.slice` (systemd). */
const POD = new RegExp(`^(?:.*-)?pod(${UID}|${STATIC_UID})(?:\\.slice)?$`);
/** `<id>`, `cri-containerd-<id>.scope`, `crio-<id>.scope`, `docker-<id>.scope`. */
const CONTAINER = new RegExp(`^(?:[a-z-]+-)?([0-9a-f]{${ownerLength.container_id}})(?:\\.scope)?$`);

/** A cgroup, as a line of /proc/<pid>/cgroup names it. */
export interface CgroupPath {
  /** Which hierarchy: controllers as the kernel lists them, or `name=systemd`; empty is cgroup v2. */
  readonly hierarchy: string;
  readonly path: string;
}

/**
 * Reads /proc/<pid>/cgroup (man 7 cgroups): a line `id:controllers:path` for each hierarchy, v1 and v2. A path is
 * matched by its last segments only: from inside a cgroup namespace another Pod's reads `/../../pod<uid>/<id>`.
 */
export function parseCgroup(text: string): ContainerRef | undefined {
  for (const { path } of pathsIn(text)) {
    const found = ownerOf(path);
    if (found !== undefined) return found.ref;
  }
  return undefined;
}

/** The cgroups that hold all of a Pod, by its UID, or of a container, by its ID: one for each hierarchy that has the process there. */
export function cgroupsOf(text: string, uid: string): CgroupPath[] {
  return pathsIn(text).flatMap(({ hierarchy, path }) => {
    const found = ownerOf(path);
    return found === undefined || (found.ref.podUid ?? found.ref.containerId) !== uid
      ? []
      : [{ hierarchy, path: found.path }];
  });
}

/** The same by the names of the two innermost folders that may be a Pod's and a container's, or empty. */
export function ownerOfFolders(pod: string, container: string): ContainerRef | undefined {
  return ownerOf(`/${pod}/${container}`)?.ref;
}

/** Whether a cgroup of this name is a Pod's or a container's. */
export function isOwnerName(name: string): boolean {
  return POD.test(name) || CONTAINER.test(name);
}

function pathsIn(text: string): CgroupPath[] {
  return text.split('\n').map((line) => {
    const [, hierarchy = '', ...path] = line.split(':');
    return { hierarchy, path: path.join(':') };
  });
}

interface Owner {
  readonly ref: ContainerRef;
  /** Of the Pod's cgroup, or of the container's where there is no Pod. */
  readonly path: string;
}

function ownerOf(path: string): Owner | undefined {
  const segments = path.split('/').filter((segment) => segment !== '');
  const upTo = (index: number) => `/${segments.slice(0, index + 1).join('/')}`;
  // A container may have cgroups of its own below: look for the innermost that is one.
  for (let index = segments.length - 1; index >= 0; index--) {
    const containerId = CONTAINER.exec(segments[index] ?? '')?.[1];
    if (containerId !== undefined) {
      const podUid = POD.exec(segments[index - 1] ?? '')?.[1];
      return podUid === undefined
        ? { ref: { containerId }, path: upTo(index) }
        : { ref: { podUid: plainUid(podUid), containerId }, path: upTo(index - 1) };
    }
    const podUid = POD.exec(segments[index] ?? '')?.[1];
    if (podUid !== undefined) return { ref: { podUid: plainUid(podUid) }, path: upTo(index) };
  }
  return undefined;
}

/** systemd does not allow `-` in a slice's name, so the kubelet writes `_`. */
function plainUid(uid: string): string {
  return uid.replaceAll('_', '-');
}
