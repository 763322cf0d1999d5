import { FILE, type Layout } from '#bpf/generated/netns.ts';
import { Unsupported } from '#core/reader.ts';
import { NetnsList } from './netns_list.ts';
import type { BpfSource, LoadedObject } from './source.ts';
import { TaskList } from './task_list.ts';

/** Access to the kernel's lists of namespaces and processes. */
export interface NetnsObject extends Disposable {
  readonly namespaces: NetnsList;
  /** Undefined if processes cannot be listed. */
  readonly tasks: TaskList | undefined;
  /** Reason why `tasks` is undefined. */
  readonly reason: string;
}

/**
 * @param levels number of levels from the agent's PID namespace up to the one whose process IDs are used; undefined if
 *   unknown
 * @throws {Unsupported} if not even namespaces can be listed
 */
export async function openNetnsObject(bpf: BpfSource, levels: number | undefined): Promise<NetnsObject> {
  if (levels === undefined) return namespacesAlone(bpf, 'the agent is not in the PID namespace of its /proc');
  try {
    const object = await bpf.load<Layout>({
      file: FILE,
      programs: ['netns_list', 'task_list'],
      helpers: ['loop'],
    });
    return lists(object, new TaskList(object, levels), '');
  } catch (error) {
    if (!(error instanceof Unsupported)) throw error;
    return namespacesAlone(bpf, error.message);
  }
}

async function namespacesAlone(bpf: BpfSource, reason: string): Promise<NetnsObject> {
  const object = await bpf.load<Layout>({
    file: FILE,
    programs: ['netns_list'],
    helpers: ['loop'],
    without: ['task_rows', 'owner_scratch', 'owner_current'],
  });
  return lists(object, undefined, reason);
}

function lists(object: LoadedObject<Layout>, tasks: TaskList | undefined, reason: string): NetnsObject {
  return { namespaces: new NetnsList(object), tasks, reason, [Symbol.dispose]: () => object[Symbol.dispose]() };
}
