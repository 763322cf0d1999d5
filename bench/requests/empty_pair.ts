import { BpfObject } from 'bpf-napi';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { rootOfCgroups } from '#sources/sysfs/cgroup_root.ts';

/** Attaches a pair of empty programs for sent and received packets. @param file compiled empty_cgroup.bpf.c */
export async function attachEmptyPair(file: string): Promise<BpfObject> {
  using stack = new DisposableStack();
  const empty = stack.use(await BpfObject.open(file));
  await empty.load();
  for (const { name } of empty.programs) await empty.attachCgroup(name, rootOfCgroups(DEFAULT_PATHS.cgroup));
  stack.move();
  return empty;
}
