import type { Paths } from '#core/paths.ts';
import { ProcessGroups } from '#pods/process_groups.ts';
import type { NetnsRegistry } from '#pods/registry.ts';
import { OwnersMap } from '#probe/listed.ts';
import type { Owners } from '#probe/owners.ts';
import type { BpfSource } from '#sources/bpf/source.ts';
import type { SourceErrors } from '#sources/errors.ts';
import { MibSource } from '#sources/mib/source.ts';
import { NetFiles } from '#sources/net_files.ts';
import { NetlinkClient } from '#sources/netlink/client.ts';
import { RouteSource } from '#sources/netlink/route.ts';
import { cpusOf } from '#sources/procfs/cpus.ts';
import { socketSource } from '#sources/sockets/source.ts';
import type { SharedRows } from '#sources/sockets/walk.ts';
import { sockstatSource } from '#sources/sockstat/source.ts';
import type { Sources } from '#sources/sources.ts';

/**
 * Opens all kernel readers.
 * @param warn called with the reason if a BPF walk cannot run
 * @param shared returns the rows to which the walk over sockets adds open sockets
 * @throws if /sys has no list of CPUs
 */
export function openSources(
  paths: Paths,
  bpf: BpfSource,
  registry: NetnsRegistry,
  owners: Owners,
  errors: SourceErrors,
  warn: (message: string) => void,
  shared: () => SharedRows | undefined,
): Sources {
  const files = new NetFiles(paths.proc, registry, errors);
  const netlink = new NetlinkClient(files, errors);
  const cpus = cpusOf(paths.sys);
  return {
    netns: registry,
    processes: new ProcessGroups(paths, () => registry.owners(), errors),
    files,
    mib: new MibSource(bpf, cpus, registry, files, warn),
    sockstat: sockstatSource(bpf, cpus, registry, files, warn),
    netlink,
    route: new RouteSource(netlink),
    sockets: socketSource(
      bpf,
      registry,
      files,
      netlink,
      (object) => new OwnersMap(object, owners),
      errors,
      warn,
      shared,
    ),
    bpf,
    cpus,
  };
}
