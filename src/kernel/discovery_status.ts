import type { ProbeStatus } from '#api/probes.ts';
import { programReports } from '#collectors/supervisor.ts';
import type { Lifecycle } from '#pods/lifecycle.ts';
import type { NetnsRegistry } from '#pods/registry.ts';

/** Name under which discovery appears in the list of probes. */
export const DISCOVERY = 'discovery';

/**
 * Reports the discovery of namespaces and their owners in the format of a probe status. Discovery runs as long as the
 * agent does.
 */
export class DiscoveryStatus {
  readonly #registry: Pick<NetnsRegistry, 'visibilityGap' | 'crowd'>;
  readonly #life: Pick<Lifecycle, 'report'>;
  #state: ProbeStatus['state'] = 'running';
  #since = new Date();

  constructor(registry: Pick<NetnsRegistry, 'visibilityGap' | 'crowd'>, life: Pick<Lifecycle, 'report'>) {
    this.#registry = registry;
    this.#life = life;
  }

  /**
   * @param runTimesMissing reason why the run times of BPF programs are not measured; undefined if they are measured
   */
  status(runTimesMissing: string | undefined): ProbeStatus {
    const { visibilityGap, crowd } = this.#registry;
    const { report } = this.#life;
    const { reader, degraded } = report.health();
    const reasons = [...degraded, visibilityGap, crowd].filter((reason) => reason !== undefined);
    this.#enter(reasons.length > 0 ? 'degraded' : 'running');
    return {
      name: DISCOVERY,
      kind: 'ebpf',
      cost: 'low',
      state: this.#state,
      reason: reasons.join('; '),
      reader,
      since: this.#since.toISOString(),
      collectSeconds: null,
      measured: runTimesMissing === undefined,
      programs: programReports(report.programs?.() ?? []),
    };
  }

  #enter(state: ProbeStatus['state']): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#since = new Date();
  }
}
