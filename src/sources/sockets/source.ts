import { BpfError } from 'bpf-napi';
import type { BpfSource } from '../bpf/source.ts';
import type { SourceErrors } from '../errors.ts';
import type { NetFiles } from '../net_files.ts';
import type { NetlinkClient } from '../netlink/client.ts';
import type { NetnsIndex } from '../netns.ts';
import { WalkSource } from '../walk_source.ts';
import { TcpDiag } from './diag.ts';
import type { TcpSnapshot } from './snapshot.ts';
import { TcpWalk } from './tcp_walk.ts';
import type { ListOwners, SharedRows } from './walk.ts';

/** Reads the TCP sockets of every namespace: with a walk in the kernel if possible, otherwise with SOCK_DIAG. */
export type SocketSource = WalkSource<TcpSnapshot>;

/**
 * @param list writes the owners of namespaces into each object that is loaded
 * @param shared returns the rows to which the walk adds open sockets
 */
export function socketSource(
  bpf: BpfSource,
  netns: NetnsIndex,
  files: NetFiles,
  netlink: NetlinkClient,
  list: ListOwners,
  errors: SourceErrors,
  warn: (message: string) => void,
  shared: () => SharedRows | undefined = () => undefined,
): SocketSource {
  const diag = new TcpDiag(netns, files, netlink);
  return new WalkSource({
    what: 'TCP sockets',
    warn,
    open: () => TcpWalk.open(bpf, netns.snapshot().length, list, errors, { shared }),
    otherwise: (cycle) => diag.read(cycle),
    otherwiseName: 'netlink',
    // If a walk does not finish, the next one may still succeed, and SOCK_DIAG would take even longer.
    isTransient: (error) => !(error instanceof BpfError),
  });
}
