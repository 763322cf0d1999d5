import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { LedgerReport } from '#api/ledger.ts';
import type { ProbeReport } from '#api/probes.ts';
import { ConfigReader } from '#config/load.ts';
import { PROBES } from '#probes/index.ts';
import { documentText } from './document_text.ts';
import { clock, entityName, percent, rate, seconds, span } from './format.ts';
import { accountsOf, Balance } from './ledger.ts';
import { formatPlace, parsePlace } from './location.ts';
import { BpfCosts, inOrder, isProblem } from './probe_view.ts';

describe('numbers', () => {
  it.each([
    [0, '0'],
    [0.001, '<0.01'],
    [0.0234, '0.023'],
    [4.128, '4.13'],
    [12_345.6, '12,346'],
  ])('rate %s', (value, text) => expect(rate(value)).toBe(text));

  it('of all kinds', () => {
    expect(percent(0.0123)).toBe('1.23 %');
    expect([4.2e-8, 8.5e-4, 0.0123, 4.05].map(seconds)).toEqual(['42 ns', '850 µs', '12.3 ms', '4.05 s']);
    expect([-5, 0, 14_000, 200_000, 7_500_000, 90_000_000].map(span)).toEqual([
      '0 s',
      '0 s',
      '14 s',
      '3 min 20 s',
      '2 h 5 min',
      '1 d 1 h',
    ]);
    expect(clock('2026-11-21T03:04:05.067891234Z', true)).toMatch(/^\d\d:\d4:05\.067$/);
  });

  it('names', () => {
    expect(entityName({ namespace: 'shop', pod: 'web' })).toBe('shop/web');
    expect(entityName({ namespace: '', pod: 'web' })).toBe('web');
    expect(entityName({ namespace: '', pod: '' })).toBe('the node');
    expect(entityName({ namespace: null, pod: null })).toBe('nobody known');
  });
});

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
  it('come with problems first, then what runs, then what is off', () => {
    const probes = (['stopped', 'running', 'unsupported', 'degraded', 'starting', 'failed'] as const).map((state) =>
      probe(state, state),
    );
    const names = inOrder(probes).map(({ name }) => name);
    expect(names).toEqual(['failed', 'degraded', 'unsupported', 'running', 'starting', 'stopped']);
    expect(probes.filter(isProblem)).toHaveLength(3);
  });

  it('show first what is so for a time', () => {
    const timed = { ...probe('timed', 'running'), until: '2026-01-01T00:15:00Z' };
    expect(inOrder([probe('first', 'running'), timed, probe('bad', 'failed')])).toEqual([
      probe('bad', 'failed'),
      timed,
      probe('first', 'running'),
    ]);
  });

  it('have a cost between two readings, where it is measured', () => {
    const costs = new BpfCosts();
    const first = probe('a', 'running', 1);
    costs.add([first], 1_000);
    expect(costs.of(first)).toEqual({ secondsPerRun: 0.1, share: null });
    const second = probe('a', 'running', 1.01);
    costs.add([second], 2_000);
    expect(costs.of(second)?.share).toBeCloseTo(0.01);
    // Its programs were loaded anew.
    const third = probe('a', 'running', 0, 0);
    costs.add([third], 3_000);
    expect(costs.of(third)).toEqual({ secondsPerRun: null, share: null });
    expect(costs.of(probe('a', 'running'))).toBeUndefined();
    expect(costs.of(probe('a', 'stopped', 1))).toBeUndefined();
  });
});

describe('the ledger', () => {
  const report = (produced: number): LedgerReport => ({
    probes: [
      {
        kind: 'event',
        probe: 'a',
        stage: 'kernel',
        produced,
        limited: 10,
        lost: 5,
        limitedLater: 3,
        folded: 2,
        held: 1,
      },
      {
        kind: 'event',
        probe: 'b',
        stage: 'agent',
        produced: 0,
        limited: 0,
        lost: 0,
        limitedLater: 0,
        folded: 0,
        held: 0,
      },
    ],
    sinks: [
      { kind: 'event', probe: 'a', sink: 'stdout', delivered: 79, pending: 0, recovered: 0, dropped: {} },
      {
        kind: 'event',
        probe: 'a',
        sink: 'loki',
        delivered: 40,
        pending: 32,
        recovered: 2,
        dropped: { rejected: 9, queue_full: 0 },
      },
    ],
  });

  it('balances for each sink', () => {
    const accounts = accountsOf(report(100));
    expect(accounts.map(({ sink, rest }) => [sink, rest])).toEqual([
      ['stdout', 0],
      ['loki', 0],
    ]);
    expect(accounts[0]).toMatchObject({ probe: 'a', limited: 13, dropped: [['ring_full', 5]] });
    expect(accounts[1]?.dropped).toEqual([
      ['ring_full', 5],
      ['rejected', 9],
    ]);
  });

  const statesOf = (looks: readonly (readonly [produced: number, delivered: number])[]) => {
    const balance = new Balance();
    return looks.map(([produced, delivered]) => {
      const { probes, sinks } = report(produced);
      const accounts = accountsOf({ probes, sinks: sinks.slice(0, 1).map((row) => ({ ...row, delivered })) });
      balance.add(accounts);
      return accounts[0] && balance.stateOf(accounts[0]);
    });
  };

  it('tells what is on its way from what is missing, when all is quiet', () => {
    const quiet = [103, 104, 104, 104, 104, 100].map((produced) => [produced, 79] as const);
    expect(statesOf(quiet)).toEqual(['on its way', 'on its way', 'on its way', 'on its way', 'missing', 'balances']);
  });

  it('and while events come and go', () => {
    const storm = (rest: number) => Array.from({ length: 30 }, (_, at) => [100 + at + rest, 79 + at] as const);
    expect(statesOf(storm(1)).slice(0, -1)).not.toContain('missing');
    expect(statesOf(storm(1)).at(-1)).toBe('missing');
    expect(statesOf([...storm(1).slice(0, 20), ...storm(0).slice(20, 21), ...storm(2).slice(1, 22)])).not.toContain(
      'missing',
    );
  });

  it('has no balance without a sink', () => {
    expect(accountsOf({ ...report(100), sinks: [] })).toEqual([
      expect.objectContaining({ kind: 'event', probe: 'a', sink: '', produced: 100, rest: 0 }),
    ]);
  });
});

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
