import { describe, expect, it } from 'vitest';
import { desiredProbes } from '#agent/desired_kernel.ts';
import { PROBES } from '#probes/index.ts';
import { faultsOf } from '../../test/support/config_faults.ts';
import { ConfigReader } from './load.ts';

const reader = new ConfigReader(PROBES);

describe('overrides for some nodes', () => {
  const text = `
detail: core
probes:
  packetloss: { limit: 7, stack: true, noLoss: [CONSUMED, TCP_RESET] }
  tcp: false
  softnet:
nodes:
  pool=edge:
    detail: full
    probes:
      packetloss: { limit: 8, noLoss: [CONSUMED] }
      tcp: true
  pool in (edge, core), !spot:
    probes: { packetloss: { limit: 9 }, udp: false, softirq: { vectors: [timer] } }
  "": { log: { level: debug } }
  other:
`;

  it.each([
    [{}, 'core', 7, ['CONSUMED', 'TCP_RESET'], false, true, false],
    [{ pool: 'edge', spot: '' }, 'full', 8, ['CONSUMED'], true, true, false],
    [{ pool: 'core' }, 'core', 9, ['CONSUMED', 'TCP_RESET'], false, false, false],
    [{ pool: 'edge' }, 'full', 9, ['CONSUMED'], true, false, false],
  ])('%j: merged in order, lists replaced', (labels, detail, limit, noLoss, tcp, udp, softirq) => {
    const config = reader.parse(text, labels);
    expect(config.detail).toBe(detail);
    expect(config.log.level).toBe('debug');
    const probes = desiredProbes(config);
    expect(probes['packetloss']?.settings).toMatchObject({ limit, options: { stack: true, noLoss } });
    expect(['tcp', 'udp', 'softirq'].map((name) => name in probes)).toEqual([tcp, udp, softirq]);
  });

  it('keep a switch that they do not mention', () => {
    const parse = (base: string, over: string) =>
      reader.parse(`probes: { softirq: ${base} }\nnodes: { a: { probes: { softirq: ${over} } } }`, { a: '' }).probes[
        'softirq'
      ];
    expect(parse('true', '{ limit: 3 }')).toMatchObject({ enabled: true, limit: 3 });
    expect(parse('{ limit: 3 }', 'true')).toMatchObject({ enabled: true, limit: 3 });
    expect(parse('{ enabled: true, limit: 3 }', 'false')).toMatchObject({ enabled: false, limit: 3 });
    expect(parse('{ enabled: true, limit: 3 }', '')).toMatchObject({ enabled: true, limit: 3 });
  });

  it('know the other names of probes', () => {
    const both = 'probes: { softirq: { limit: 3 } }\nnodes: { a: { probes: { net_softirq: true } } }';
    expect(reader.parse(both, { a: '1' }).probes['softirq']).toMatchObject({ enabled: true, limit: 3 });
  });

  it('are validated if they do not hold, with the whole path', () => {
    expect(
      faultsOf(`
nodes:
  pool=edge: { detail: x, nodes: {}, probes: { packetlos: {}, tcp: { stack: 1 }, packetloss: { limit: 0 } } }
  pool=: { foo: 1 }
  pool in edge: {}
  bad: 5
`),
    ).toEqual([
      'nodes["pool=edge"].detail: "x" is not allowed; allowed: one of core, full',
      'nodes["pool=edge"].probes.tcp.stack: unknown key; valid keys: enabled, metrics, detail, fields, for, until, budget',
      'nodes["pool=edge"].probes.packetloss.limit: 0 is not allowed; allowed: at least 1',
      `nodes["pool=edge"].probes.packetlos: unknown key (did you mean packetloss?); valid keys: ${PROBES.map(({ name }) => name).join(', ')}`,
      'nodes["pool=edge"].nodes: unknown key; valid keys: detail, bpfStats, probes, labels, peers, external, privacy, limits, events, sinks, log',
      'nodes["pool="].foo: unknown key; valid keys: detail, bpfStats, probes, labels, peers, external, privacy, limits, events, sinks, log',
      'nodes.bad: 5 is not allowed; allowed: a mapping of keys to values',
      'nodes["pool in edge"]: not a label selector: ( and values at character 9, not "edge"',
    ]);
    expect(faultsOf('nodes: [a]')).toEqual([
      'nodes: ["a"] is not allowed; allowed: a mapping of label selectors to overrides for those nodes',
    ]);
    expect(faultsOf('nodes:')).toEqual([]);
  });
});

describe('a timed section', () => {
  it('is gone when its time is over, whatever its content; the rest holds', () => {
    const text = `
probes:
  softirq: { enabled: true, for: 15m, limit: 3 }
  packetloss: { stack: true, until: "2027-01-01T00:00:00+01:00" }
  tcp: { enabled: false, for: 1h }
nodes:
  a: { probes: { packetloss: { limit: 5, for: 1m } } }
`;
    const { timed } = reader.parse(text, { a: '' });
    expect(timed.map(({ path, probe, end }) => [path.join('/'), probe, end])).toEqual([
      ['probes/softirq', 'softirq', { forMs: 900_000 }],
      ['probes/packetloss', 'packetloss', { untilMs: Date.UTC(2026, 11, 31, 23) }],
      ['probes/tcp', 'tcp', { forMs: 3_600_000 }],
      ['nodes/a/probes/packetloss', 'packetloss', { forMs: 60_000 }],
    ]);
    const [softirq, packetloss, tcp, onA] = timed.map(({ id }) => id) as [string, string, string, string];
    const now = (...over: string[]) => desiredProbes(reader.parse(text, { a: '' }, new Set(over)));
    expect(now()).toMatchObject({
      softirq: { settings: { limit: 3 } },
      packetloss: { settings: { limit: 5, options: { stack: true } } },
    });
    expect(now()).not.toHaveProperty('tcp');
    expect(now(softirq)).not.toHaveProperty('softirq');
    expect(now(tcp)).toHaveProperty('tcp');
    expect(now(packetloss)).toMatchObject({ packetloss: { settings: { limit: 5, options: { stack: false } } } });
    expect(now(onA)).toMatchObject({ packetloss: { settings: { limit: 100, options: { stack: true } } } });
    expect(now(onA, packetloss, softirq, tcp)).toEqual(desiredProbes(reader.defaults));
    expect(reader.parse(text).timed).toHaveLength(3);
  });

  it('is another one when its content or its place differs', () => {
    const idOf = (text: string) => reader.parse(text, { a: '', b: '' }).timed[0]?.id;
    const id = idOf('probes: { udp: { for: 15m, metrics: true } }');
    expect(idOf('detail: full\nprobes: { tcp: false, udp: { metrics: true, for: 15m } } # other')).toBe(id);
    expect(idOf('probes: { udp: { for: 16m, metrics: true } }')).not.toBe(id);
    expect(idOf('probes: { udp: { for: 15m, metrics: false } }')).not.toBe(id);
    const [a, b] = ['a', 'b'].map((node) =>
      idOf(`nodes: { ${node}: { probes: { udp: { for: 15m, metrics: true } } } }`),
    );
    expect(new Set([id, a, b]).size).toBe(3);
  });

  it.each([
    ['for: 0s', 'probes.udp.for: "0s" is not allowed; allowed: a duration from 1s to 8760h, like 15m'],
    ['for: 999ms', 'probes.udp.for: "999ms" is not allowed; allowed: a duration from 1s to 8760h, like 15m'],
    ['for: 9000h', 'probes.udp.for: "9000h" is not allowed; allowed: a duration from 1s to 8760h, like 15m'],
    ['for: 15', 'probes.udp.for: 15 is not allowed; allowed: a duration from 1s to 8760h, like 15m'],
    ['for: -1s', 'probes.udp.for: "-1s" is not allowed; allowed: a duration from 1s to 8760h, like 15m'],
    [
      'until: tomorrow',
      'probes.udp.until: "tomorrow" is not allowed; allowed: a time with its zone, like 2026-11-21T03:00:00Z',
    ],
    [
      'until: 2027-13-21T03:00:00Z',
      'probes.udp.until: "2027-13-21T03:00:00Z" is not allowed; allowed: a time with its zone, like 2026-11-21T03:00:00Z',
    ],
    [
      'until: 2027-11-21T03:00:00',
      'probes.udp.until: "2027-11-21T03:00:00" is not allowed; allowed: a time with its zone, like 2026-11-21T03:00:00Z',
    ],
    ['until: 2027-11-21T03:00:00Z, for: 1h', 'probes.udp: has both for and until; give one of them'],
  ])('%s', (keys, fault) => expect(faultsOf(`probes: { udp: { ${keys} } }`)).toEqual([fault]));

  it('has a limit to its number', () => {
    const overrides = Array.from(
      { length: 257 },
      (_, index) => `  "a,!b${index}": { probes: { udp: { for: 1h, metrics: true } } }`,
    );
    const text = `nodes:\n${overrides.join('\n')}`;
    expect(() => reader.parse(text, { a: '' })).toThrow('more than 256 sections with for or until');
    expect(reader.parse(text).timed).toEqual([]);
  });
});

describe('budget and pods', () => {
  it('take the values of the document', () => {
    const config = reader.parse(
      'bpfStats: true\nprobes: { tcp: { budget: 0.5% }, packetloss: { budget: 2%, pods: { namespaces: [a], selector: "x in (y)", names: [web-*] } }, tcpreset: { pods: {} } }',
    );
    expect(config.bpfStats).toBe(true);
    const { tcp, packetloss, tcpreset } = desiredProbes(config);
    expect(tcp?.budget).toBe(0.005);
    expect(packetloss?.budget).toBe(0.02);
    expect(packetloss?.settings.podFilter).toEqual({ namespaces: ['a'], selector: 'x in (y)', names: ['web-*'] });
    expect(tcpreset?.settings.podFilter).toEqual({});
    expect(desiredProbes(reader.defaults)['packetloss']?.settings.podFilter).toBeUndefined();
  });

  it.each([
    [
      'udp: { budget: 2 }',
      'probes.udp.budget: 2 is not allowed; allowed: a share of one CPU in percent, from 0.01% to 6400%, like 2%',
    ],
    [
      'udp: { budget: 0% }',
      'probes.udp.budget: "0%" is not allowed; allowed: a share of one CPU in percent, from 0.01% to 6400%, like 2%',
    ],
    [
      'udp: { budget: 6401% }',
      'probes.udp.budget: "6401%" is not allowed; allowed: a share of one CPU in percent, from 0.01% to 6400%, like 2%',
    ],
    [
      'udp: { pods: { selector: "a=b" } }',
      'probes.udp.pods: {"selector":"a=b"} is not allowed; allowed: nothing: only eBPF probes that distinguish Pods, such as packetloss, can be limited to some Pods',
    ],
    [
      'softirq: { pods: {} }',
      'probes.softirq.pods: {} is not allowed; allowed: nothing: only eBPF probes that distinguish Pods, such as packetloss, can be limited to some Pods',
    ],
    [
      'packetloss: { pods: { selector: "app=web,=x" } }',
      'probes.packetloss.pods.selector: "app=web,=x" is not allowed; allowed: a label selector: the key of a label, like app or app.kubernetes.io/name, at character 9, not "="',
    ],
    [
      'packetloss: { pods: { namespaces: [Web] } }',
      'probes.packetloss.pods.namespaces.0: "Web" is not allowed; allowed: the name of a Kubernetes namespace',
    ],
    [
      'packetloss: { pods: { namespaces: [] } }',
      'probes.packetloss.pods.namespaces: [] is not allowed; allowed: at least 1',
    ],
    [
      'packetloss: { pods: { names: ["a b"] } }',
      'probes.packetloss.pods.names.0: "a b" is not allowed; allowed: a name, with * for any characters and ? for any single one',
    ],
    [
      'packetloss: { pods: { selectr: a } }',
      'probes.packetloss.pods.selectr: unknown key (did you mean selector?); valid keys: namespaces, selector, names',
    ],
  ])('%s', (probe, fault) => expect(faultsOf(`probes: { ${probe} }`)).toEqual([fault]));
});

describe('garbage of the greatest length of a document', () => {
  const limit = 256 * 1024 - 64;
  const keys = `{ ${Array.from({ length: 15_000 }, (_, index) => `pr${index}: ${index}`).join(', ')} }`;
  it.each([
    ['unknown keys', keys],
    ['unknown probes', `probes: ${keys}`],
    ['one long key', `"${'x'.repeat(limit)}": 1`],
    ['one long value', `detail: ${'x'.repeat(limit)}`],
    ['brackets', '['.repeat(limit)],
    ['empty lines', '\n'.repeat(limit)],
    ['control characters', '\u0001'.repeat(limit)],
    ['one key again and again', 'a: 1\n'.repeat(limit / 5)],
    ['aliases', Array.from({ length: 12_000 }, (_, i) => `- &a${i} [*a${Math.max(0, i - 1)}]`).join('\n')],
  ])('%s: readable faults', (_, text) => {
    // With a parser of quadratic complexity, this would take minutes and the test would time out.
    const faults = faultsOf(text);
    expect(faults.length).toBeGreaterThan(0);
    expect(faults.length).toBeLessThanOrEqual(101);
    for (const fault of faults) expect(fault.length).toBeLessThan(1_000);
  });

  it('says how many more errors there are', () => {
    expect(faultsOf(keys).at(-1)).toBe('the document: 14900 more errors');
  });
});
