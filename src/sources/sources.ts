import type { BpfSource } from './bpf/source.ts';
import type { MibSource } from './mib/source.ts';
import type { NetFiles } from './net_files.ts';
import type { NetlinkClient } from './netlink/client.ts';
import type { RouteSource } from './netlink/route.ts';
import type { NetnsIndex } from './netns.ts';
import type { ProcessIndex } from './processes.ts';
import type { Cpus } from './procfs/cpus.ts';
import type { SocketSource } from './sockets/source.ts';
import type { SockstatSource } from './sockstat/source.ts';

/** Readers of kernel data that probes can use. */
export interface Sources {
  readonly netns: NetnsIndex;
  readonly processes: ProcessIndex;
  readonly files: NetFiles;
  readonly mib: MibSource;
  readonly sockstat: SockstatSource;
  readonly netlink: NetlinkClient;
  readonly route: RouteSource;
  readonly sockets: SocketSource;
  readonly bpf: BpfSource;
  readonly cpus: Cpus;
}
