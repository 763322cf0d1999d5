import { join } from 'node:path';
import { BpfError, BpfStats } from 'bpf-napi';
import { readText } from '../procfs/read.ts';

/** Whether the kernel measures how long BPF programs run: only while somebody wants to know, because each run takes longer then. */
export class RunTimes implements Disposable {
  readonly #proc: string;
  #stats: BpfStats | undefined;
  #refusal = 'nobody has asked for it';

  constructor(proc: string) {
    this.#proc = proc;
  }

  /** Switches it on or off. Where that is not allowed, `missing` tells why. */
  want(wanted: boolean): void {
    if (!wanted) this[Symbol.dispose]();
    else if (this.#stats === undefined) this.#open();
  }

  /** Why nothing is measured; undefined where it is, at our wish or by the sysctl kernel.bpf_stats_enabled. */
  get missing(): string | undefined {
    if (this.#stats !== undefined) return undefined;
    const sysctl = readText(join(this.#proc, 'sys/kernel/bpf_stats_enabled'));
    return sysctl?.trim() === '1' ? undefined : this.#refusal;
  }

  [Symbol.dispose](): void {
    this.#stats?.close();
    this.#stats = undefined;
  }

  #open(): void {
    try {
      this.#stats = new BpfStats();
    } catch (error) {
      if (!(error instanceof BpfError)) throw error;
      this.#refusal = `the kernel does not let us measure (${error.message}): it takes CAP_SYS_ADMIN, or the sysctl kernel.bpf_stats_enabled=1`;
    }
  }
}
