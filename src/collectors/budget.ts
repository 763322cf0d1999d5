import type { RunningProbe } from '#probe/contract.ts';
import type { MetricSet } from '#probe/metric.ts';

export interface BudgetOptions {
  /** Budget, as a fraction of one CPU. */
  readonly share: number;
  readonly probe: RunningProbe<MetricSet>;
  readonly everyMs: number;
  /** Called at most once, when the probe exceeds its budget. `spent` describes how much time it used. */
  readonly exceeded: (spent: string) => void;
}

/**
 * Periodically checks whether a running probe exceeds its CPU budget. Both its BPF programs and its collections count.
 */
export class Budget implements Disposable {
  readonly #options: BudgetOptions;
  readonly #timer: NodeJS.Timeout;
  #collectSeconds = 0;
  #bpfSeconds: number;
  #sinceMs = performance.now();

  constructor(options: BudgetOptions) {
    this.#options = options;
    this.#bpfSeconds = bpfSeconds(options.probe);
    this.#timer = setInterval(() => this.#look(), options.everyMs);
    this.#timer.unref();
  }

  collected(seconds: number): void {
    this.#collectSeconds += seconds;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const { share, probe, exceeded } = this.#options;
    const nowMs = performance.now();
    const seconds = (nowMs - this.#sinceMs) / 1000;
    const bpfNow = bpfSeconds(probe);
    const bpf = (bpfNow - this.#bpfSeconds) / seconds;
    const collect = this.#collectSeconds / seconds;
    this.#sinceMs = nowMs;
    this.#bpfSeconds = bpfNow;
    this.#collectSeconds = 0;
    if (bpf + collect <= share) return;
    this[Symbol.dispose]();
    exceeded(
      `took ${percent(bpf + collect)} of a CPU for ${Math.round(seconds)} s, its budget is ${percent(share)} (BPF programs ${percent(bpf)}, collecting ${percent(collect)})`,
    );
  }
}

function bpfSeconds(probe: RunningProbe<MetricSet>): number {
  return (probe.programs?.() ?? []).reduce((sum, { runSeconds }) => sum + runSeconds, 0);
}

function percent(share: number): string {
  return `${Number((share * 100).toPrecision(3))} %`;
}
