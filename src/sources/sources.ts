import type { Paths } from '#core/paths.ts';
import type { PodFilters } from '#core/pod_filter.ts';
import type { BpfSource } from './bpf/source.ts';
import type { SourceErrors } from './errors.ts';
import type { Memories } from './memory.ts';
import type { MibSource } from './mib/source.ts';
import type { NetFiles } from './net_files.ts';
import type { NetlinkClient } from './netlink/client.ts';
import type { RouteSource } from './netlink/route.ts';
import type { NetnsIndex, NetnsLife } from './netns.ts';
import type { ProcessIndex } from './processes.ts';
import type { Cpus } from './procfs/cpus.ts';
import type { SocketSource } from './sockets/source.ts';
import type { SockstatSource } from './sockstat/source.ts';

/** All readers of the kernel, as a probe gets them. */
export interface Sources {
  readonly paths: Paths;
  readonly netns: NetnsIndex;
  readonly life: NetnsLife;
  readonly processes: ProcessIndex;
  readonly files: NetFiles;
  readonly mib: MibSource;
  readonly sockstat: SockstatSource;
  readonly netlink: NetlinkClient;
  readonly route: RouteSource;
  readonly sockets: SocketSource;
  readonly bpf: BpfSource;
  readonly aims: PodFilters;
  readonly cpus: Cpus;
  readonly errors: SourceErrors;
  readonly memories: Memories;
}
