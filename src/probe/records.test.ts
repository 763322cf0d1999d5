import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { desiredProbes } from '#agent/desired_kernel.ts';
import { ConfigReader } from '#config/load.ts';
import { PROBES } from '#probes/index.ts';
import type { AnyProbe } from './contract.ts';
import { type Candidate, causeOf, noChoices, RecordGate, type RecordOffer, type RecordRules } from './records.ts';

const [FIRST] = PROBES;

/** Returns a probe that produces records. */
function offering(name: string, more: Partial<RecordOffer> = {}): AnyProbe {
  const records: RecordOffer = { kind: 'request', help: 'A request fails by its status.', ...more };
  return { ...(FIRST as AnyProbe), name, records };
}

const reader = new ConfigReader([
  ...PROBES.slice(1),
  offering('rpc'),
  offering('flow', { kind: 'flow', failedByDefault: true }),
]);

function rulesOf(probe: string, text: string): RecordRules | undefined {
  const parsed = desiredProbes(reader.parse(`probes: { ${probe}: { enabled: true${text} } }`));
  return parsed[probe]?.settings.records;
}

const OFF = { failed: false, perPod: 10 };

describe('the section records', () => {
  it.each<[string, RecordRules]>([
    ['', OFF],
    [', records: ', OFF],
    [', records: {}', OFF],
    [', records: { failed: true }', { ...OFF, failed: true }],
    [', records: { slow: 1s }', { ...OFF, slow: 1_000 }],
    [', records: { slow: 250us, sample: 0.5% }', { ...OFF, slow: 0.25, sample: 0.005 }],
    [', records: { sample: 100%, perPod: 30/m }', { ...OFF, sample: 1, perPod: 0.5 }],
    [
      ', records: { failed: true, slow: 1h, sample: 1%, perPod: 10000/s }',
      { failed: true, slow: 3_600_000, sample: 0.01, perPod: 10_000 },
    ],
  ])('{ enabled: true%s }', (text, rules) => {
    expect(rulesOf('rpc', text)).toEqual(rules);
  });

  it('sends only requested records, and those that the probe sends by default', () => {
    expect(rulesOf('flow', '')).toEqual({ ...OFF, failed: true });
    expect(rulesOf('flow', ', records: { failed: false }')).toEqual(OFF);
    expect(reader.parse('{}').document['probes']).toMatchObject({
      rpc: { records: { failed: false, perPod: '10/s' } },
    });
  });

  it.each([
    ['slow: 1', 'records.slow: 1 is not allowed; allowed: a duration from 1us to 1h, like 200ms or 1s'],
    ['slow: 0s', 'records.slow: "0s" is not allowed; allowed: a duration from 1us to 1h, like 200ms or 1s'],
    ['slow: 2h', 'records.slow: "2h" is not allowed; allowed: a duration from 1us to 1h, like 200ms or 1s'],
    ['sample: 0%', 'records.sample: "0%" is not allowed; allowed: a percentage from 0.001% to 100%, like 1%'],
    ['sample: 101%', 'records.sample: "101%" is not allowed; allowed: a percentage from 0.001% to 100%, like 1%'],
    ['sample: 0.01', 'records.sample: 0.01 is not allowed; allowed: a percentage from 0.001% to 100%, like 1%'],
    ['perPod: 10', 'records.perPod: 10 is not allowed; allowed: a rate from 1/h to 10000/s, like 10/s or 30/m'],
    ['perPod: 0/s', 'records.perPod: "0/s" is not allowed; allowed: a rate from 1/h to 10000/s, like 10/s or 30/m'],
    [
      'perPod: 10001/s',
      'records.perPod: "10001/s" is not allowed; allowed: a rate from 1/h to 10000/s, like 10/s or 30/m',
    ],
    ['failed: some', 'records.failed: "some" is not allowed; allowed: true or false'],
    ['samples: 1%', 'records.samples: unknown key (did you mean sample?); valid keys: failed, slow, sample, perPod'],
  ])('{ %s }: %s', (text, fault) => {
    expect(() => rulesOf('rpc', `, records: { ${text} }`)).toThrow(`probes.rpc.${fault}`);
  });

  it('exists only if a probe offers records', () => {
    expect(() => rulesOf('tcpext', ', records: { failed: true }')).toThrow('probes.tcpext.records: unknown key');
  });
});

const CANDIDATE = fc.record({
  failed: fc.boolean(),
  tookMs: fc.option(fc.double({ min: 0, max: 10_000, noNaN: true }), { nil: undefined }),
});
const RULES = fc.record({
  failed: fc.boolean(),
  slow: fc.option(fc.double({ min: 0.001, max: 10_000, noNaN: true }), { nil: undefined }),
  sample: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
  perPod: fc.double({ min: 0.01, max: 100, noNaN: true }),
});

describe('which records are sent', () => {
  const rules = { failed: true, slow: 1_000, sample: 0.01, perPod: 10 };

  it.each<[Candidate, number, ReturnType<typeof causeOf>]>([
    [{ failed: true, tookMs: 2_000 }, 0, 'failed'],
    [{ failed: false, tookMs: 1_000 }, 0, 'slow'],
    [{ failed: false, tookMs: 999 }, 0.009, 'sample'],
    [{ failed: false, tookMs: 999 }, 0.01, undefined],
    [{ failed: false }, 0.5, undefined],
  ])('%j, drawn %d: %s', (candidate, draw, cause) => {
    expect(causeOf(candidate, rules, draw)).toBe(cause);
  });

  it('a cause is one that the rules name, and none is missed', () => {
    fc.assert(
      fc.property(
        CANDIDATE,
        RULES,
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (candidate, given, draw) => {
          const isSlow = given.slow !== undefined && candidate.tookMs !== undefined && candidate.tookMs >= given.slow;
          const wanted = [
            candidate.failed && given.failed ? 'failed' : undefined,
            isSlow ? 'slow' : undefined,
            draw < (given.sample ?? 0) ? 'sample' : undefined,
          ].filter((cause) => cause !== undefined);
          expect(causeOf(candidate, given, draw)).toBe(wanted[0]);
        },
      ),
    );
  });

  it('each is counted once, and a Pod never exceeds its rate and its saved tokens', () => {
    const seconds = 5;
    fc.assert(
      fc.property(
        RULES,
        fc.array(fc.tuple(CANDIDATE, fc.constantFrom('a', 'b')), { maxLength: 200 }),
        (given, offered) => {
          let now = 0;
          const choices = noChoices();
          const gate = new RecordGate(given, { choices, random: () => 0.3, now: () => now });
          const admitted = { a: 0, b: 0 };
          for (const [candidate, pod] of offered) {
            now += (seconds * 1_000) / offered.length;
            if (gate.selects(candidate) && gate.admits(pod)) admitted[pod]++;
          }
          const { failed, slow, sample, limited, unwanted } = choices;
          expect(failed + slow + sample + unwanted).toBe(offered.length);
          expect(admitted.a + admitted.b + limited).toBe(failed + slow + sample);
          const most = Math.max(1, 2 * given.perPod) + seconds * given.perPod;
          expect(Math.max(admitted.a, admitted.b)).toBeLessThanOrEqual(most);
        },
      ),
    );
  });

  it('a Pod in a storm takes nothing from another, and unwanted records use up no rate', () => {
    const choices = noChoices();
    const gate = new RecordGate({ failed: true, perPod: 10 }, { choices, random: () => 0, now: () => 0 });
    const offer = (failed: boolean, pod: string) => gate.selects({ failed }) && gate.admits(pod);
    for (let count = 0; count < 1_000; count++) offer(true, 'shop/noisy');
    for (let count = 0; count < 1_000; count++) offer(false, 'shop/quiet');
    expect(offer(true, 'shop/quiet')).toBe(true);
    expect(choices).toEqual({ failed: 1_001, slow: 0, sample: 0, limited: 980, unwanted: 1_000 });
  });

  it('a sample is the requested share', () => {
    let seed = 1;
    // The pseudo-random generator is the example in the C standard.
    const random = () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed / 2 ** 31;
    };
    const choices = noChoices();
    const gate = new RecordGate({ failed: false, sample: 0.01, perPod: 10_000 }, { choices, random });
    for (let count = 0; count < 100_000; count++) gate.selects({ failed: false, tookMs: 1 });
    expect(choices.sample).toBeGreaterThan(900);
    expect(choices.sample).toBeLessThan(1_100);
  });
});
