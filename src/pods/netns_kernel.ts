import { BpfError, netnsCookie, unavailable, withNetns } from 'bpf-napi';
import { toCounter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { NetnsRow } from '#sources/bpf/netns_list.ts';
import { type NetnsObject, openNetnsObject } from '#sources/bpf/netns_object.ts';
import type { BpfSource } from '#sources/bpf/source.ts';
import { pidNamespaceLevels } from '#sources/procfs/pid_namespace.ts';
import { type ProcessTable, readProcessWalk } from './process_table.ts';

/** Lists the namespaces of the machine, and identifies them. */
export interface NetnsKernel {
  /** Returns every live namespace, or undefined where the kernel cannot be asked: then only /proc has them. */
  list(cycle: Cycle): Promise<readonly NetnsRow[] | undefined>;
  /**
   * Returns every process, or undefined where the kernel cannot be asked.
   * @param node the node's own namespace, where it is known
   */
  processes(node: NetnsId | undefined, cycle: Cycle): Promise<ProcessTable | undefined>;
  /** Enters the namespace at a path and returns its cookie; undefined where that is not possible. */
  cookie(path: string): NetnsId | undefined;
}

type Log = (level: 'warn' | 'error', message: string) => void;

/** Lists by BPF programs. A program that cannot run, or fails, is not retried: /proc is read instead, and the log says why. */
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
      if (object.tasks === undefined) log('warn', `processes are looked for in /proc: ${object.reason}`);
      return new BpfNetnsKernel(object, log);
    } catch (error) {
      log('warn', `namespaces are looked for in /proc only: ${(error as Error).message}`);
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
      // Entering is not allowed, or the namespace is gone: it is identified by its inode number, or does not exist any more.
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
      this.#log('error', `the list of ${what} failed, /proc is read instead: ${(error as Error).message}`);
      this.#failed.add(what);
      return undefined;
    }
  }
}
