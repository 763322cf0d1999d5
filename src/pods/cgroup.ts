/** What a process's cgroup path says of whom it belongs to. */
export interface ContainerRef {
  readonly podUid?: string;
  readonly containerId?: string;
}

const UID = '[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}';
/** Static Pods have a hash of their manifest as UID. */
const STATIC_UID = '[0-9a-f]{32}';

/** `pod<uid>` (cgroupfs), `kubepods-besteffort-pod<uid_>.slice` (systemd). */
const POD = new RegExp(`^(?:.*-)?pod(${UID}|${STATIC_UID})(?:\\.slice)?$`);
/** `<id>`, `cri-containerd-<id>.scope`, `crio-<id>.scope`, `docker-<id>.scope`. */
const CONTAINER = /^(?:[a-z-]+-)?([0-9a-f]{64})(?:\.scope)?$/;

/**
 * Reads /proc/<pid>/cgroup (man 7 cgroups): a line `id:controllers:path` for each hierarchy, v1 and v2. A path is
 * matched by its last segments only: from inside a cgroup namespace another Pod's reads `/../../pod<uid>/<id>`.
 */
export function parseCgroup(text: string): ContainerRef | undefined {
  for (const line of text.split('\n')) {
    const path = line.split(':').slice(2).join(':');
    const found = containerOf(path);
    if (found !== undefined) return found;
  }
  return undefined;
}

function containerOf(path: string): ContainerRef | undefined {
  const segments = path.split('/').filter((segment) => segment !== '');
  // A container may have cgroups of its own below: look for the innermost that is one.
  for (let index = segments.length - 1; index >= 0; index--) {
    const containerId = CONTAINER.exec(segments[index] ?? '')?.[1];
    if (containerId !== undefined) {
      const podUid = POD.exec(segments[index - 1] ?? '')?.[1];
      return podUid === undefined ? { containerId } : { podUid: plainUid(podUid), containerId };
    }
    const podUid = POD.exec(segments[index] ?? '')?.[1];
    if (podUid !== undefined) return { podUid: plainUid(podUid) };
  }
  return undefined;
}

/** systemd does not allow `-` in a slice's name, so the kubelet writes `_`. */
function plainUid(uid: string): string {
  return uid.replaceAll('_', '-');
}
