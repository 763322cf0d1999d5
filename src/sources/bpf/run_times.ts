import { join } from 'node:path';
import { BpfError, BpfStats } from 'bpf-napi';
import { readText } from '../procfs/read.ts';

/** Makes the kernel measure how long BPF programs run, only while somebody asks, because each run then takes longer. */
export class RunTimes implements Disposable {
  readonly #proc: string;
  #stats: BpfStats | undefined;
  #refusal = 'it is switched off';

  constructor(proc: string) {
    this.#proc = proc;
  }

  /** Switches the measurement on or off. Where that is not allowed, `missing` gives the reason. */
  want(wanted: boolean): void {
    if (!wanted) this[Symbol.dispose]();
    else if (this.#stats === undefined) this.#open();
  }

  /** Reason why nothing is measured; undefined where it is, because we asked for it or by the sysctl kernel.bpf_stats_enabled. */
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
