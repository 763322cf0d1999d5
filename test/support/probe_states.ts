import type { ProbeStatus } from '#api/probes.ts';
import { PROBE_STATES, type ProbeState } from '#api/words.ts';
import { Aggregator } from '#collectors/aggregate.ts';
import { Supervisor } from '#collectors/supervisor.ts';
import { Unsupported } from '#core/reader.ts';
import type { AnyProbe, DesiredProbe, ProbeContext, ProbeScope, RunningProbe } from '#probe/contract.ts';
import type { EventSet } from '#probe/event.ts';
import type { MetricSet } from '#probe/metric.ts';
import { RetainedStates } from '#probe/retained.ts';
import type { Sources } from '#sources/sources.ts';

const PROGRAM = { name: 'on_drop', hook: 'tp_btf/kfree_skb', id: 7, runs: 3n, runSeconds: 0.25, missed: 0n };
const RUNNING: RunningProbe<MetricSet> = {
  health: () => ({ reader: 'pass', note: 'why not better', degraded: [] }),
  programs: () => [PROGRAM],
};
const DEGRADED: RunningProbe<MetricSet> = { health: () => ({ reader: 'files', degraded: ['a hook is missing'] }) };

const WISH: DesiredProbe = { detail: 'core', settings: { metrics: true, events: true, limit: 100, options: {} } };

/** A real supervisor with a probe in each state. The probes are named after their states. */
export class ProbesInAllStates implements AsyncDisposable {
  readonly #supervisor: Supervisor;
  readonly #ended = Promise.withResolvers<void>();

  private constructor() {
    this.#supervisor = new Supervisor({
      definitions: PROBE_STATES.map((state) => this.#probe(state)),
      sources: { netns: { visibilityGap: undefined } } as Sources,
      context: {} as ProbeContext,
      retained: new RetainedStates(),
      aggregator: new Aggregator(PROBE_STATES, () => false),
      publish: () => () => undefined,
      record: () => () => undefined,
      log: () => undefined,
    });
  }

  static async open(): Promise<ProbesInAllStates> {
    const probes = new ProbesInAllStates();
    const wanted = new Map(PROBE_STATES.filter((state) => state !== 'stopped').map((state) => [state, WISH]));
    const resting = new Map([...wanted].filter(([state]) => state !== 'starting'));
    await probes.#supervisor.apply(resting);
    // This promise stays pending until the end of the test, so it is not awaited.
    void probes.#supervisor.apply(new Map([...wanted].filter(([state]) => state !== 'stopping')));
    return probes;
  }

  status(): ProbeStatus[] {
    return this.#supervisor.status();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.resolve();
    await this.#supervisor[Symbol.asyncDispose]();
  }

  #probe(state: ProbeState): AnyProbe {
    return {
      name: state,
      kind: 'ebpf',
      cost: 'low',
      enabledByDefault: true,
      summary: '',
      guide: { question: '', when: '', query: '', limits: [''] },
      metrics: {},
      events: {},
      options: {},
      requires: { capabilities: [], kernel: '' },
      measured: {},
      open: (scope: ProbeScope<EventSet>) => this.#open(state, scope),
    };
  }

  async #open(state: ProbeState, scope: ProbeScope<EventSet>): Promise<RunningProbe<MetricSet>> {
    if (state === 'unsupported') throw new Unsupported('the kernel has no such hook');
    if (state === 'failed') throw new Error('out of memory');
    if (state === 'starting') await this.#ended.promise;
    if (state === 'stopping') scope.own({ [Symbol.asyncDispose]: () => this.#ended.promise });
    return state === 'degraded' ? DEGRADED : RUNNING;
  }
}
