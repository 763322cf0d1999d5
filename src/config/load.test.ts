import { describe, expect, it } from 'vitest';
import { desiredProbes } from '#agent/desired_kernel.ts';
import { EVENT_METADATA } from '#core/record_kinds.ts';
import { type AnyProbe, defineProbe } from '#probe/contract.ts';
import { PROBE_ALIASES, PROBES } from '#probes/index.ts';
import { faultsOf } from '../../test/support/config_faults.ts';
import { nearest } from './faults.ts';
import { ConfigReader } from './load.ts';

const reader = new ConfigReader(PROBES);

describe('a good configuration', () => {
  it('without content runs the default probes and prints events', () => {
    const config = reader.parse('{}');
    expect(config).toEqual(reader.defaults);
    expect(Object.keys(config.sinks)).toEqual(['stdout']);
    expect(Object.keys(desiredProbes(config))).toEqual(
      PROBES.filter(({ enabledByDefault }) => enabledByDefault).map(({ name }) => name),
    );
    expect(desiredProbes(config)['packetloss']?.settings).toMatchObject({ metrics: true, events: true, limit: 100 });
  });

  it('switches and configures single probes', () => {
    const probes = desiredProbes(
      reader.parse(`
probes: # default-on probes run unless switched off here
  packetloss: { events: true, stack: true, limit: 7 }
  softnet: { enabled: false }
  udp: false
  tcp: true
  tcpext: { fields: all, detail: full }
  sock:
sinks: { stdout: {} }
`),
    );
    expect(probes['packetloss']?.settings).toMatchObject({ events: true, limit: 7, options: { stack: true } });
    expect(probes).not.toHaveProperty('softnet');
    expect(probes).not.toHaveProperty('udp');
    expect(probes).toHaveProperty('sock');
    expect(probes['tcp']?.detail).toBe('core');
    expect(probes['tcpext']).toMatchObject({ detail: 'full', settings: { options: { fields: 'all' } } });
  });

  it('may send events nowhere', () => {
    expect(reader.parse('sinks: {}').sinks).toEqual({});
  });

  it('puts labels on Pods, and names peers', () => {
    const { labels, peers } = reader.parse(
      '{ labels: { app: app.kubernetes.io/name, team: team, workload: "@workload" }, peers: cluster }',
    );
    expect(labels).toEqual({ app: 'app.kubernetes.io/name', team: 'team', workload: '@workload' });
    expect(peers).toBe('cluster');
    expect(reader.defaults).toMatchObject({ labels: {}, peers: 'services' });
    expect(reader.parse('labels:').labels).toEqual({});
  });
});

describe('an invalid configuration', () => {
  it('has two sinks with spools in one directory, even if only some nodes have the second', () => {
    const spool = (directory: string) => ({ url: 'http://there', spool: { directory } });
    const loki = spool('/var/spool/a/');
    const fault = expect.stringMatching(
      /^sinks\.otlp\.spool\.directory: .* another directory: the spool of loki uses this one$/,
    );
    expect(faultsOf(JSON.stringify({ sinks: { loki, otlp: spool('/var/spool/b/../a') } }))).toEqual([fault]);
    const onSome = { sinks: { loki }, nodes: { '': { sinks: { otlp: spool('/var/spool/a') } } } };
    expect(faultsOf(JSON.stringify(onSome))).toEqual([fault]);
    expect(reader.parse(JSON.stringify({ sinks: { loki, otlp: spool('/var/spool/b') } })).sinks.otlp).toBeDefined();
  });

  it('has layers that are valid on their own but not together', () => {
    const loki = { url: 'http://there', bearerTokenFile: '/token' };
    const more = { sinks: { loki: { url: 'http://there', basicAuth: { username: 'u', passwordFile: '/password' } } } };
    expect(faultsOf(JSON.stringify({ sinks: { loki }, nodes: { '': more } }))).toEqual([
      expect.stringMatching(/^sinks\.loki: .*basicAuth or bearerTokenFile, not both$/),
    ]);
  });

  it('reports all errors at once, each with its place, its value and what is allowed', () => {
    expect(
      faultsOf(`
detail: fulll
foo: 1
probes:
  packetloss: { stack: on, limit: 0, noLoss: [x y], evnts: 1 }
  packetlos: {}
  tcp: 5
  tcpext: { fields: al, events: true }
sinks: { stdot: {} }
log: { level: inf }
`),
    ).toEqual([
      'detail: "fulll" is not allowed; allowed: one of core, full',
      'probes.tcp: 5 is not allowed; allowed: true, false, or a mapping of keys to values',
      'probes.tcpext.fields: "al" is not allowed; allowed: named, all, or a list of metrics',
      'probes.tcpext.events: unknown key; valid keys: enabled, metrics, detail, fields, for, until, budget',
      'probes.packetloss.limit: 0 is not allowed; allowed: at least 1',
      'probes.packetloss.stack: "on" is not allowed; allowed: true or false',
      'probes.packetloss.noLoss.0: "x y" is not allowed; allowed: the name of a reason in the kernel, like TCP_OLD_DATA',
      'probes.packetloss.evnts: unknown key (did you mean events?); valid keys: enabled, metrics, detail, fields, events, limit, for, until, budget, pods, stack, tunnels, vxlanPorts, noLoss',
      `probes.packetlos: unknown key (did you mean packetloss?); valid keys: ${PROBES.map(({ name }) => name).join(', ')}`,
      'sinks.stdot: unknown key (did you mean stdout?); valid keys: stdout, file, loki, otlp',
      'log.level: "inf" is not allowed; allowed: one of error, warn, info, debug',
      'foo: unknown key; valid keys: detail, bpfStats, probes, labels, peers, external, privacy, limits, events, sinks, log, nodes',
    ]);
  });

  it.each([
    ['', 'the document: empty; use `{}` for all defaults'],
    ['# only a comment\n', 'the document: empty; use `{}` for all defaults'],
    ['hello', 'the document: "hello" is not allowed; allowed: a mapping of keys to values'],
    ['- 1', 'the document: [1] is not allowed; allowed: a mapping of keys to values'],
    ['sinks: { stdout: true }', 'sinks.stdout: true is not allowed; allowed: a mapping of keys to values'],
    ['probes: []', 'probes: [] is not allowed; allowed: a mapping of keys to values'],
    ['&a [*a]', 'the document: a value that contains itself is not allowed; allowed: a mapping of keys to values'],
  ])('%j: %s', (text, fault) => expect(faultsOf(text)).toEqual([fault]));

  it.each([
    ['braces', '}'.repeat(100_000), /^the document: invalid YAML: Unexpected .* at line 1, column 1\n/, 52],
    ['braces in a list', '- }\n'.repeat(60_000), /invalid YAML: there are more errors$/, 51],
    ['brackets', '['.repeat(100_000), /invalid YAML: brackets and braces are nested more than 100 deep$/, 1],
    ['keys of nothing', '? \n'.repeat(80_000), /invalid YAML: the key null is given twice/, 50],
    ['documents', '---\n'.repeat(60_000), /invalid YAML: there is more than one document/, 1],
    [
      'overrides',
      `nodes:\n${Array.from({ length: 1_001 }, (_, index) => ` "a=b${index}":\n`).join('')}`,
      /^nodes: at most 1000 label selectors$/,
      1,
    ],
  ])('a document that takes long to check is given up after some faults: %s', (_, text, said, count) => {
    const faults = faultsOf(text);
    expect(faults.length).toBeLessThanOrEqual(count);
    expect(faults.join('\n')).toMatch(said);
  });

  it('quotes of a document are harmless where they are shown', () => {
    const key = '"a\\n2026-01-01T00:00:00.000Z info all is well\\e[2J\\u202e"';
    for (const text of [
      `${key}: 1\n${key}: 2`,
      `${key}: 1`,
      `probes: { ${key}: 1 }`,
      `nodes: { ${key}: {} }`,
      `limits: { series: ${key} }`,
      'a: *b\u001b[2J',
    ]) {
      const faults = faultsOf(text);
      expect(faults).not.toEqual([]);
      for (const fault of faults) expect(fault).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    }
  });

  it.each(['a: [', 'a: 1\na: 2', 'a: "', '\tb: 1', 'a: *nobody', '%YAML 9\n---\n{'])('%j is invalid YAML', (text) => {
    const faults = faultsOf(text);
    expect(faults.length).toBeGreaterThan(0);
    for (const fault of faults) expect(fault).toMatch(/^the document: (invalid YAML: |"|\[|)/);
    expect(faults.join()).not.toMatch(/\n\s+\^/);
  });

  it('refuses a document that is too long, at once', () => {
    expect(faultsOf(`# ${'x'.repeat(256 * 1024)}`)).toEqual(['the document: longer than 262144 bytes']);
  });

  it('names networks, and reports the error of each', () => {
    expect(reader.parse('external: { names: { "10.9.0.0/16": datacenter }, by: network }').external).toEqual({
      names: { '10.9.0.0/16': 'datacenter' },
      by: 'network',
    });
    expect(reader.parse('external:').external).toEqual({ names: {}, by: 'collapse' });
    expect(faultsOf('external: { names: { "10.9.0.0": a, "10.9.0.0/33": b, "fd00::/8": "{}" }, by: name }')).toEqual([
      expect.stringContaining('external.names["10.9.0.0"]: "a" is not allowed; allowed: a network in CIDR notation'),
      expect.stringContaining('external.names["10.9.0.0/33"]: "b" is not allowed; allowed: a network in CIDR notation'),
      expect.stringContaining('external.names["fd00::/8"]: "{}" is not allowed; allowed: a name of at most 63'),
      expect.stringContaining('external.by: "name" is not allowed; allowed: one of collapse, network, address'),
    ]);
  });

  it('reports the error of each label', () => {
    expect(
      faultsOf(
        'labels: { pod: app, 9x: app, __a: app, state: app, ok: "a b", ok2: "@owner", no: { a: b } }\npeers: all',
      ),
    ).toEqual([
      expect.stringMatching(/^labels\.no: \{"a":"b"\} is not allowed; allowed: a string$/),
      'peers: "all" is not allowed; allowed: one of off, node, services, cluster',
    ]);
    expect(faultsOf('labels: { pod: app, 9x: app, __a: app, state: app, ok: "a b", ok2: "@owner" }')).toEqual([
      'labels.pod: "app" is not allowed; allowed: another name: the label pod exists already',
      'labels.9x: "app" is not allowed; allowed: another name: letters, digits and _, not starting with a digit or two _, at most 63 characters',
      'labels.__a: "app" is not allowed; allowed: another name: letters, digits and _, not starting with a digit or two _, at most 63 characters',
      'labels.state: "app" is not allowed; allowed: another name: the label state exists already',
      'labels.ok: "a b" is not allowed; allowed: the key of a Pod\'s label, like app.kubernetes.io/name, or one of @workload, @workload_kind',
      'labels.ok2: "@owner" is not allowed; allowed: the key of a Pod\'s label, like app.kubernetes.io/name, or one of @workload, @workload_kind',
    ]);
    const nine = Array.from({ length: 9 }, (_, index) => `l${index}: app`).join(', ');
    expect(faultsOf(`labels: { ${nine} }`)).toEqual([expect.stringMatching(/^labels: .* allowed: at most 8 labels$/)]);
  });

  it('cuts long values, and does not follow prototypes to other objects', () => {
    expect(faultsOf(`detail: ${'x'.repeat(500)}`)[0]?.length).toBeLessThan(150);
    expect(faultsOf('probes: { __proto__: { enabled: true } }')[0]).toMatch(/^probes\.__proto__: unknown key/);
    expect(
      faultsOf(
        'a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]',
      ).length,
    ).toBeGreaterThan(0);
  });
});

/** Returns a probe that does nothing. */
function made(name: string): AnyProbe {
  return defineProbe({
    name,
    kind: 'ebpf',
    cost: 'low',
    enabledByDefault: false,
    summary: 'Nothing.',
    guide: { question: '', when: '', query: '', limits: [''] },
    metrics: {},
    events: { nothing_seen: { severity: 'info', help: 'Nothing.', equalBy: [], fields: {} } },
    options: {},
    requires: { capabilities: [], kernel: 'Any.' },
    measured: {},
    open: async () => ({ health: () => ({ reader: 'none', degraded: [] }) }),
  });
}

describe('sinks', () => {
  it('have defaults, sizes in bytes and times in milliseconds', () => {
    const { loki } = reader.parse('sinks: { loki: { url: "https://loki:3100", spool: { directory: /x } } }').sinks;
    expect(loki).toMatchObject({ timeout: 10_000, queue: 10_000, queueBytes: 16 * 1024 ** 2, compress: true });
    expect(loki).toMatchObject({ batch: { age: 1_000, bytes: 1024 ** 2 }, spool: { size: 256 * 1024 ** 2 } });
  });

  it.each([
    ['loki: {}', 'sinks.loki.url: a string'],
    ['loki: { url: loki }', 'sinks.loki.url: "loki" is not allowed; allowed: a URL like https://loki.example:3100'],
    [
      'loki: { url: "ftp://x" }',
      'sinks.loki.url: "ftp://x" is not allowed; allowed: a URL that begins with http:// or https://',
    ],
    [
      'loki: { url: "http://x", batch: { age: 1h } }',
      'sinks.loki.batch.age: "1h" is not allowed; allowed: a duration from 0s to 1m, like 500ms, 5s or 1m',
    ],
    [
      'loki: { url: "http://x", queueBytes: 1 GB }',
      'sinks.loki.queueBytes: "1 GB" is not allowed; allowed: a size from 64KiB to 1GiB, like 512KiB or 64MiB',
    ],
    [
      'loki: { url: "http://x", spol: {} }',
      /^sinks\.loki\.spol: unknown key \(did you mean spool\?\); valid keys: url, proxy, timeout/,
    ],
    [
      'loki: { url: "http://x", tls: { cert: /a } }',
      'sinks.loki.tls: {"cert":"/a"} is not allowed; allowed: cert and key together, or neither',
    ],
    [
      'loki: { url: "http://x", spool: { directory: x } }',
      'sinks.loki.spool.directory: "x" is not allowed; allowed: an absolute path',
    ],
    [
      'loki: { url: "http://x", bearerTokenFile: /a, basicAuth: { username: u, passwordFile: /b } }',
      'sinks.loki: (hidden) is not allowed; allowed: basicAuth or bearerTokenFile, not both',
    ],
    ...['Host', 'content-length', 'Transfer-Encoding', 'Proxy-Authorization'].map((name): [string, RegExp] => [
      `loki: { url: "http://x", headers: { ${name}: x } }`,
      new RegExp(
        `^sinks\\.loki\\.headers\\.${name}: .*allowed: a header that does not control how the request is sent$`,
      ),
    ]),
    [
      'otlp: { url: "http://x", headers: { X-A: "1\\r\\nHost: y" } }',
      /^sinks\.otlp\.headers\.X-A: \(hidden\) is not allowed; allowed: one line of plain text, without control/,
    ],
    [
      'loki: { url: "http://x", headers: { "a b": x } }',
      /^sinks\.loki\.headers\["a b"\]: .* a name of letters, digits and -$/,
    ],
    [
      'loki: { url: "http://x", headers: { __proto__: x } }',
      /^sinks\.loki\.headers\.__proto__: .*allowed: another name$/,
    ],
    [
      'loki: { url: "http://x", labels: { __proto__: x } }',
      /^sinks\.loki\.labels\.__proto__: .*allowed: another name$/,
    ],
    ['loki: { url: "http://x", headers: { X-A: "1", x-a: "2" } }', /allowed: each header once; x-a is given twice$/],
    [
      'loki: { url: "http://x", tenant: a, headers: { X-Scope-OrgID: b } }',
      /allowed: tenant or the header X-Scope-OrgID, not both$/,
    ],
    [
      'loki: { url: "http://x", bearerTokenFile: /a, headers: { Authorization: b } }',
      /allowed: only one of basicAuth, bearerTokenFile and the header Authorization$/,
    ],
    ...['https://proxy', 'http://u:p@proxy', 'http://proxy/path', 'proxy:3128'].map((url): [string, RegExp] => [
      `loki: { url: "http://x", proxy: { url: "${url}" } }`,
      /^sinks\.loki\.proxy\.url: .* allowed: a URL /,
    ]),
  ])('{ %s }: %s', (text, fault) => {
    const [first] = faultsOf(`sinks: { ${text} }`);
    if (typeof fault === 'string') expect(first).toBe(fault);
    else expect(first).toMatch(fault);
  });

  it.each([
    'loki: { url: "http://u:hunter2@x" }',
    'loki: { url: "http://x", basicAuth: "u:hunter2" }',
    'loki: { url: "http://x", basicAuth: { username: u, password: hunter2 } }',
    'loki: { url: "http://x", basicAuth: { username: u, passwordFile: hunter2 } }',
    'loki: { url: "http://x", bearerTokenFile: hunter2 }',
    'loki: { url: "http://x", headers: { Authorization: [hunter2] } }',
    'loki: { url: "http://x", password: hunter2 }',
    'loki: { url: "http://x", tenant: "http://u:hunter2@x" }',
  ])('%s: the password is not in the fault', (text) => {
    const faults = faultsOf(`sinks: { ${text} }`);
    expect(faults.length).toBeGreaterThan(0);
    expect(faults.join()).not.toContain('hunter2');
  });

  it.each(['job', 'node', 'probe', 'type', 'namespace', ...EVENT_METADATA])(
    'the label %s is refused: we set it ourselves, or send it as metadata',
    (name) => {
      expect(faultsOf(`sinks: { loki: { url: "http://x", labels: { ${name}: x } } }`)[0]).toMatch(
        /a label other than job, node, probe, type, namespace, pod, /,
      );
    },
  );

  it('labels that Loki would not take are refused', () => {
    const labels = (text: string) => faultsOf(`sinks: { loki: { url: "http://x", labels: { ${text} } } }`)[0];
    const eleven = Array.from({ length: 11 }, (_, index) => `l${index}: x`).join(', ');
    expect(labels(eleven)).toMatch(/^sinks\.loki\.labels: .* allowed: at most 10 labels$/);
    expect(labels('__stream_shard__: x')).toMatch(/a name of letters, digits and _, not starting with two _$/);
    expect(labels(`cluster: ${'x'.repeat(2_049)}`)).toMatch(/allowed: at most 2048$/);
  });
});

describe('an alias of a probe', () => {
  const withMade = new ConfigReader([...PROBES.slice(0, 1), made('softirq'), made('netiftxlatency')]);
  const parse = (text: string) => desiredProbes(withMade.parse(text));

  it.each([...PROBE_ALIASES])('%s configures %s', (alias, name) => {
    const probes = parse(`probes: { ${alias}: { enabled: true, limit: 7 } }`);
    expect(probes).toEqual(parse(`probes: { ${name}: { enabled: true, limit: 7 } }`));
    expect(probes[name]?.settings.limit).toBe(7);
    expect(probes).not.toHaveProperty(alias);
  });

  it('has the errors of the probe, under its name', () => {
    expect(() => parse('probes: { net_softirq: { limit: 0 } }')).toThrow(/^probes.softirq.limit: 0 is not allowed/);
  });

  it('is refused if the probe does not exist, or is given twice', () => {
    for (const [alias, name] of PROBE_ALIASES) {
      if (PROBES.some((probe) => probe.name === name)) continue;
      expect(faultsOf(`probes: { ${alias}: true }`)[0]).toMatch(`probes.${alias}: unknown key`);
    }
    for (const both of ['net_softirq: true, softirq: false', 'softirq: false, net_softirq: true']) {
      expect(() => parse(`probes: { ${both} }`)).toThrow('probes.net_softirq: unknown key (did you mean softirq?)');
    }
    const twice = 'probes: { netiftxlat: true, netif_txlatency: false }';
    expect(() => parse(twice)).toThrow('probes.netif_txlatency: unknown key (did you mean netiftxlatency?)');
  });
});

describe('nearest', () => {
  it.each([
    ['packetlos', 'packetloss'],
    ['NetDev', 'netdev'],
    ['tcpex', 'tcpext'],
    ['qdsic', 'qdisc'],
    ['tpc', 'tcp'],
    ['x', undefined],
    ['kubernetes', undefined],
  ])('of %s is %s', (word, expected) => {
    expect(
      nearest(
        word,
        PROBES.map(({ name }) => name),
      ),
    ).toBe(expected);
  });
});
