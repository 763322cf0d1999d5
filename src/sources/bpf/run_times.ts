import { join } from 'node:path';
import { BpfError, BpfStats } from 'bpf-napi';
import { readText } from '../procfs/read.ts';

/** Makes the kernel measure the run time of BPF programs while this is needed. The measurement slows down each run. */
export class RunTimes implements Disposable {
  readonly #proc: string;
  #stats: BpfStats | undefined;
  #refusal = 'it is switched off';

  constructor(proc: string) {
    this.#proc = proc;
  }

  /** Switches the measurement on or off. If it is not permitted, `missing` contains the reason. */
  want(wanted: boolean): void {
    if (!wanted) this[Symbol.dispose]();
    else if (this.#stats === undefined) this.#open();
  }

  /**
   * Reason why run times are not measured; undefined if they are, because of this object or kernel.bpf_stats_enabled.
   */
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
      this.#refusal = `the kernel refused to measure run times (${error.message}); this needs CAP_SYS_ADMIN or the sysctl kernel.bpf_stats_enabled=1`;
    }
  }
}
