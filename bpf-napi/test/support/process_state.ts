import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Returns the descriptors of the whole process, even if called in a worker thread. */
function descriptors(): { fd: string; target: string }[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [{ fd, target: readlinkSync(`/proc/self/fd/${fd}`) }];
    } catch {
      return []; // the descriptor used for the listing itself
    }
  });
}

/** Returns the targets of this process's descriptors, sorted. */
export function openDescriptors(): string[] {
  return descriptors()
    .map(({ target }) => target)
    .sort();
}

/** Returns the number of BPF map mappings of this process, which keep a map alive without a descriptor. */
export function mappedMaps(): number {
  return readFileSync('/proc/self/maps', 'utf8').split('anon_inode:bpf-map').length - 1;
}

/** Returns the IDs of the BPF programs that this process references by a descriptor or a link. */
export function ownPrograms(): number[] {
  const ids = descriptors().flatMap(({ fd, target }) => {
    if (!target.startsWith('anon_inode:bpf')) return [];
    const id = /^prog_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
    return id === undefined ? [] : [Number(id)];
  });
  return [...new Set(ids)];
}
