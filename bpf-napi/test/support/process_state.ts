import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Of the whole process, though the caller may be in a worker thread. */
function descriptors(): { fd: string; target: string }[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [{ fd, target: readlinkSync(`/proc/self/fd/${fd}`) }];
    } catch {
      return []; // the descriptor of the listing itself
    }
  });
}

/** What the descriptors of this process lead to, sorted. */
export function openDescriptors(): string[] {
  return descriptors()
    .map(({ target }) => target)
    .sort();
}

/** How many mappings of BPF maps this process has: they keep a map alive without a descriptor. */
export function mappedMaps(): number {
  return readFileSync('/proc/self/maps', 'utf8').split('anon_inode:bpf-map').length - 1;
}

/** Ids of the BPF programs that this process holds, by a descriptor or by a link. */
export function ownPrograms(): number[] {
  const ids = descriptors().flatMap(({ fd, target }) => {
    if (!target.startsWith('anon_inode:bpf')) return [];
    const id = /^prog_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
    return id === undefined ? [] : [Number(id)];
  });
  return [...new Set(ids)];
}
