import type { BpfSource } from '../bpf/source.ts';
import type { NetFiles } from '../net_files.ts';
import type { NetnsIndex } from '../netns.ts';
import type { Cpus } from '../procfs/cpus.ts';
import { WalkSource } from '../walk_source.ts';
import { readSockstatFiles } from './files.ts';
import type { SockstatRow } from './snapshot.ts';
import { SockstatWalk } from './walk.ts';

/** Reads the socket counts of every namespace. */
export type SockstatSource = WalkSource<readonly SockstatRow[]>;

export function sockstatSource(
  bpf: BpfSource,
  cpus: Cpus,
  netns: NetnsIndex,
  files: NetFiles,
  warn: (message: string) => void,
): SockstatSource {
  return new WalkSource({
    what: 'socket counts',
    warn,
    open: () => SockstatWalk.open(bpf, cpus, (id) => netns.isNobodys(id)),
    otherwise: (cycle) => readSockstatFiles(netns, files, cycle),
    otherwiseName: 'files',
  });
}
