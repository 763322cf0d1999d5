import type { Sources } from '../sources.ts';
import { WalkSource } from '../walk_source.ts';
import type { DeviceRows } from './rows.ts';
import { DevicesWalk } from './walk.ts';

/**
 * Reads the devices of every namespace with one walk in the kernel. The snapshot is undefined if the walk does not run,
 * in which case the caller must read each namespace separately.
 */
export type DeviceSource = WalkSource<DeviceRows | undefined>;

export function deviceSource(
  { bpf, cpus, netns }: Pick<Sources, 'bpf' | 'cpus' | 'netns'>,
  warn: (message: string) => void,
): DeviceSource {
  return new WalkSource<DeviceRows | undefined>({
    what: 'network devices',
    warn,
    open: () => DevicesWalk.open(bpf, cpus, (id) => netns.isNobodys(id)),
    otherwise: async () => undefined,
    otherwiseName: 'files',
  });
}
