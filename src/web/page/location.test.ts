import { describe, expect, it } from 'vitest';
import type { ProbeReport } from '#api/probes.ts';
import { formatPlace, parsePlace } from './location.ts';

describe('the place in the URL', () => {
  it('goes there and back', () => {
    const place = { tab: 'events', filters: { type: 'tcp_reset', text: 'a&b = #?%' } } as const;
    expect(parsePlace(formatPlace(place))).toEqual(place);
    expect(formatPlace({ tab: 'pods', filters: { q: '' } })).toBe('#pods');
  });

  it('is the first tab where it makes no sense', () => {
    for (const hash of ['', '#', '#nothing', '#%%%']) expect(parsePlace(hash)).toEqual({ tab: 'events', filters: {} });
  });
});

function _probe(name: string, state: ProbeReport['state'], runSeconds?: number, runs = 10): ProbeReport {
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
