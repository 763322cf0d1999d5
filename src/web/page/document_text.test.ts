import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { ConfigReader } from '#config/load.ts';
import { PROBES } from '#probes/index.ts';
import { documentText } from './document_text.ts';

describe('a document as text', () => {
  it('is equivalent YAML', () => {
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

  it('is accepted by the agent', () => {
    const reader = new ConfigReader(PROBES);
    const config = reader.parse('probes: { tcp: false, softirq: { enabled: true, budget: 3% } }');
    const { document, ...rest } = reader.parse(documentText(config.document));
    expect({ ...rest, document }).toEqual(config);
    expect(document['probes']).toMatchObject({ tcp: { enabled: false }, softirq: { budget: '3%', threshold: '10ms' } });
  });
});
