import { PassSource } from '../pass_source.ts';
import type { Sources } from '../sources.ts';
import { DevicesPass } from './pass.ts';
import type { DeviceRows } from './rows.ts';

/** Reads the devices of every namespace by one walk in the kernel; undefined where that does not run, so that each namespace has to be read. */
export type DeviceSource = PassSource<DeviceRows | undefined>;

export function deviceSource(
  { bpf, cpus, netns }: Pick<Sources, 'bpf' | 'cpus' | 'netns'>,
  warn: (message: string) => void,
): DeviceSource {
  return new PassSource<DeviceRows | undefined>({
    what: 'network devices',
    warn,
    open: () => DevicesPass.open(bpf, cpus, (id) => netns.isNobodys(id)),
    otherwise: async () => undefined,
    otherwiseName: 'files',
  });
}
