import { BpfError, netnsCookie, unavailable, withNetns } from 'bpf-napi';
import { toCounter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { NetnsRow } from '#sources/bpf/netns_list.ts';
import { type NetnsObject, openNetnsObject } from '#sources/bpf/netns_object.ts';
import type { BpfSource } from '#sources/bpf/source.ts';
import { pidNamespaceLevels } from '#sources/procfs/pid_namespace.ts';
import { type ProcessTable, readProcessWalk } from './process_table.ts';

/** Lists the network namespaces and processes of the machine. */
export interface NetnsKernel {
  /** Returns all live namespaces. Returns undefined if the kernel cannot list them and /proc has to be searched. */
  list(cycle: Cycle): Promise<readonly NetnsRow[] | undefined>;
  /**
   * Returns all processes; undefined if the kernel cannot list them.
   * @param node the node's namespace, if known
   */
  processes(node: NetnsId | undefined, cycle: Cycle): Promise<ProcessTable | undefined>;
  /** Enters the namespace at a path and returns its cookie; undefined if that fails. */
  cookie(path: string): NetnsId | undefined;
}

type Log = (level: 'warn' | 'error', message: string) => void;

/**
 * Lists namespaces and processes with BPF programs that walk the kernel's lists (BPF walks). If a walk cannot run or
 * fails, the reason is logged, the walk is not retried, and /proc is read instead.
 */
export class BpfNetnsKernel implements NetnsKernel, Disposable {
  readonly #object: NetnsObject | undefined;
  readonly #log: Log;
  readonly #failed = new Set<string>();

  private constructor(object: NetnsObject | undefined, log: Log) {
    this.#object = object;
    this.#log = log;
  }

  static async open(bpf: BpfSource, proc: string, log: Log): Promise<BpfNetnsKernel> {
    try {
      const object = await openNetnsObject(bpf, pidNamespaceLevels(proc));
      if (object.tasks === undefined) log('warn', `falling back to /proc to list processes: ${object.reason}`);
      return new BpfNetnsKernel(object, log);
    } catch (error) {
      log('warn', `namespaces are listed from /proc only: ${(error as Error).message}`);
      return new BpfNetnsKernel(undefined, log);
    }
  }

  list(cycle: Cycle): Promise<readonly NetnsRow[] | undefined> {
    const namespaces = this.#object?.namespaces;
    return this.#attempt('namespaces', async () => namespaces?.list(cycle));
  }

  processes(node: NetnsId | undefined, cycle: Cycle): Promise<ProcessTable | undefined> {
    const tasks = this.#object?.tasks;
    return this.#attempt('processes', async () => tasks && readProcessWalk(tasks, node, cycle));
  }

  cookie(path: string): NetnsId | undefined {
    if (unavailable() !== undefined) return undefined;
    try {
      return asNetnsId(toCounter(withNetns(path, netnsCookie)));
    } catch (error) {
      // Either the namespace no longer exists, or the agent may not enter it. In the second case, the caller uses the
      // inode number instead.
      if (error instanceof BpfError) return undefined;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#object?.[Symbol.dispose]();
  }

  async #attempt<T>(what: string, read: () => Promise<T | undefined>): Promise<T | undefined> {
    if (this.#failed.has(what)) return undefined;
    try {
      return await read();
    } catch (error) {
      this.#log('error', `the kernel failed to list ${what}, so /proc is read instead: ${(error as Error).message}`);
      this.#failed.add(what);
      return undefined;
    }
  }
}
