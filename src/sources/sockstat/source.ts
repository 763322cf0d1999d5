import type { BpfSource } from '../bpf/source.ts';
import type { NetFiles } from '../net_files.ts';
import type { NetnsIndex } from '../netns.ts';
import { PassSource } from '../pass_source.ts';
import type { Cpus } from '../procfs/cpus.ts';
import { readSockstatFiles } from './files.ts';
import { SockstatPass } from './pass.ts';
import type { SockstatRow } from './snapshot.ts';

/** The socket counts of every namespace. */
export type SockstatSource = PassSource<readonly SockstatRow[]>;

export function sockstatSource(
  bpf: BpfSource,
  cpus: Cpus,
  netns: NetnsIndex,
  files: NetFiles,
  warn: (message: string) => void,
): SockstatSource {
  return new PassSource({
    what: 'socket counts',
    warn,
    open: () => SockstatPass.open(bpf, cpus, (id) => netns.isNobodys(id)),
    otherwise: (cycle) => readSockstatFiles(netns, files, cycle),
    otherwiseName: 'files',
  });
}
