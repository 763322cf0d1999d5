import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { ProbeReport } from '#api/probes.ts';
import { ConfigReader } from '#config/load.ts';
import { PROBES } from '#probes/index.ts';
import { documentText } from './document_text.ts';

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

describe('a document as text', () => {
  it('is YAML that says the same', () => {
    const document = {
      yes: 'no',
      path: '/etc/x.y',
      budget: '2%',
      odd: ['a: b', '#', '', '- x', '"', 'ü\n'],
      empty: {},
      none: null,
      deep: { deeper: { long: 'x'.repeat(120), number: -0.5 } },
    };
    expect(parse(documentText(document))).toEqual(document);
  });

  it('is what the agent would take', () => {
    const reader = new ConfigReader(PROBES);
    const config = reader.parse('probes: { tcp: false, softirq: { enabled: true, budget: 3% } }');
    const { document, ...rest } = reader.parse(documentText(config.document));
    expect({ ...rest, document }).toEqual(config);
    expect(document['probes']).toMatchObject({ tcp: { enabled: false }, softirq: { budget: '3%', threshold: '10ms' } });
  });
});
