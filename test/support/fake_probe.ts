import type { AnyProbe, ProbeScope, RunningProbe } from '#probe/contract.ts';
import type { EventSet } from '#probe/event.ts';

/** A probe whose opening is controlled by the test. */
export class FakeProbe {
  readonly log: string[] = [];
  open: (scope: ProbeScope<EventSet>) => Promise<RunningProbe<never>> = async () => ({
    health: () => ({ reader: 'fake', degraded: [] }),
  });
  readonly definition: AnyProbe;

  /** @param inPlace settings that the running probe applies */
  constructor(name: string, inPlace: AnyProbe['inPlace'] = []) {
    this.definition = {
      name,
      kind: 'procfs',
      cost: 'low',
      enabledByDefault: true,
      summary: '',
      guide: { question: '', when: '', query: '', limits: [''] },
      metrics: {},
      events: {},
      options: {},
      inPlace,
      requires: { capabilities: [], kernel: '' },
      measured: {},
      open: async (scope) => {
        this.log.push('open');
        scope.own({ [Symbol.dispose]: () => void this.log.push('close') });
        return this.open(scope as unknown as ProbeScope<EventSet>);
      },
    };
  }
}
