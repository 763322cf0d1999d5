import { describe, expect, it } from 'vitest';
import type { ProbeReport } from '#api/probes.ts';
import { BpfCosts, CollectTimes, inOrder, isProblem } from './probe_view.ts';

function probe(name: string, state: ProbeReport['state'], runSeconds?: number, runs = 10): ProbeReport {
  const program = { name, hook: 'tp_btf/kfree_skb', id: 1, missed: 0, runs, runSeconds: runSeconds ?? 0 };
  return {
    name,
    kind: 'ebpf',
    cost: 'low',
    state,
    reason: '',
    reader: '',
    since: '',
    until: null,
    summary: '',
    collectSeconds: null,
    measured: runSeconds !== undefined,
    programs: state === 'stopped' ? [] : [program],
  };
}

describe('probes', () => {
  it('are sorted: first those with problems, then running ones, then those that are off', () => {
    const probes = (['stopped', 'running', 'unsupported', 'degraded', 'starting', 'failed'] as const).map((state) =>
      probe(state, state),
    );
    const names = inOrder(probes).map(({ name }) => name);
    expect(names).toEqual(['failed', 'degraded', 'unsupported', 'running', 'starting', 'stopped']);
    expect(probes.filter(isProblem)).toHaveLength(3);
  });

  it('show temporary ones first', () => {
    const timed = { ...probe('timed', 'running'), until: '2026-01-01T00:15:00Z' };
    expect(inOrder([probe('first', 'running'), timed, probe('bad', 'failed')])).toEqual([
      probe('bad', 'failed'),
      timed,
      probe('first', 'running'),
    ]);
  });

  it('have a cost between two readings, if it is measured', () => {
    const costs = new BpfCosts();
    const first = probe('a', 'running', 1);
    costs.add([first], 1_000);
    expect(costs.of(first)).toEqual({ secondsPerRun: 0.1, share: null });
    const second = probe('a', 'running', 1.01);
    costs.add([second], 2_000);
    expect(costs.of(second)?.share).toBeCloseTo(0.01);
    // The counters restart from zero, because the probe's programs were loaded again.
    const third = probe('a', 'running', 0, 0);
    costs.add([third], 3_000);
    expect(costs.of(third)).toEqual({ secondsPerRun: null, share: null });
    expect(costs.of(probe('a', 'running'))).toBeUndefined();
    expect(costs.of(probe('a', 'stopped', 1))).toBeUndefined();
  });

  it('have a line of the collections of the last five minutes', () => {
    const times = new CollectTimes();
    const collected = (collectSeconds: number | null, state: ProbeReport['state'] = 'running') => [
      { ...probe('a', state), collectSeconds },
    ];
    times.add(collected(9), 0);
    times.add(collected(1), 290_000);
    times.add(collected(2), 340_000);
    times.add(collected(3, 'stopped'), 345_000);
    const line = times.line('a');
    expect(line.map(({ value, isAfterGap }) => [value, isAfterGap])).toEqual([
      [1, false],
      [2, true],
      [null, false],
    ]);
    expect(line.at(-1)?.at).toBe(1);
    expect(times.line('a')).toBe(line);
    expect(times.line('b')).toEqual([]);
  });
});
