import type { ContainerRef } from './cgroup.ts';
import type { ProcessTable } from './process_table.ts';

/**
 * Age in milliseconds from which a process is assumed to stay in its cgroup. Container runtimes move a process to its
 * cgroup right after its start.
 */
const SETTLED_MS = 10_000;
/** Milliseconds after which a process is read again, because its PID may have been reused. */
const KEPT_MS = 60_000;

interface Kept {
  readonly ref: ContainerRef | undefined;
  readonly firstMs: number;
  readonly readMs: number;
}

/**
 * Finds the Pods and containers of the processes in the node's namespace. Results that have to be read from /proc are
 * cached for a minute.
 */
export class NodeRefs {
  #kept = new Map<number, Kept>();
  #isKept = false;
  #nowMs = 0;

  /**
   * Starts a scan.
   * @param reader how the processes were read; nothing is cached for `pass`, because the list from the kernel already
   *   contains the owners
   */
  begin(pids: readonly number[], reader: 'pass' | 'files', nowMs: number): void {
    this.#nowMs = nowMs;
    this.#isKept = reader === 'files';
    const before = this.#kept;
    this.#kept = new Map();
    for (const pid of this.#isKept ? pids : []) {
      const kept = before.get(pid);
      if (kept !== undefined) this.#kept.set(pid, kept);
    }
  }

  of(pid: number, table: Pick<ProcessTable, 'info'>): ContainerRef | undefined {
    const kept = this.#kept.get(pid);
    const nowMs = this.#nowMs;
    if (kept !== undefined && kept.readMs - kept.firstMs >= SETTLED_MS && nowMs - kept.readMs < KEPT_MS)
      return kept.ref;
    const ref = table.info(pid)?.container();
    if (this.#isKept) this.#kept.set(pid, { ref, firstMs: kept?.firstMs ?? nowMs, readMs: nowMs });
    return ref;
  }
}
