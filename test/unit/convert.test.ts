import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { desiredProbes } from '#agent/desired_kernel.ts';
import { convertText } from '#commands/convert.ts';
import { FIELDS } from '#commands/kubeskoop/fields.ts';
import { NotKubeskoop } from '#commands/kubeskoop/input.ts';
import { counterpartOf } from '#commands/kubeskoop/probes.ts';
import { ConfigReader } from '#config/load.ts';
import { parseField } from '#probe/fields.ts';
import { shownBuckets } from '#probe/histogram.ts';
import { PROBE_ALIASES, PROBES } from '#probes/index.ts';
import { isMissing } from '../../dashboards/kubeskoop/entry.ts';
import { KUBESKOOP } from '../../dashboards/kubeskoop/names.ts';
import { seriesOfPod } from '../../scripts/series_count.ts';

const reader = new ConfigReader(PROBES);

function fixture(name: string): string {
  return readFileSync(new URL(`../fixtures/kubeskoop/${name}.yaml`, import.meta.url), 'utf8');
}

interface Document {
  probes: Record<string, unknown>;
  sinks: Record<string, unknown>;
  labels?: Record<string, string>;
  log?: unknown;
}

function converted(text: string): {
  document: Document;
  lines: string[];
  warnings: readonly string[];
  leftOut: number;
} {
  const { text: written, warnings, leftOut } = convertText(text, 'yaml');
  return { document: parse(written), lines: written.split('\n'), warnings, leftOut };
}

/** Converts a configuration. Returns the probes that the agent would run with it. */
function running(text: string) {
  return desiredProbes(reader.parse(convertText(text, 'yaml').text));
}

/** Returns a KubeSkoop configuration with these probes. */
function asking(metrics: readonly string[], events: readonly string[] = []): string {
  const list = (names: readonly string[]) => names.map((name) => ({ name }));
  return stringify({ metrics: { probes: list(metrics) }, event: { probes: list(events), sinks: [] } });
}

const METRICS_PROBES = KUBESKOOP.map(({ probe }) => probe);
/** KubeSkoop 1.0's probes with events. */
const EVENT_PROBES = [
  'biolatency',
  'conntrack',
  'kernellatency',
  'netiftxlat',
  'packetloss',
  'socketlatency',
  'softirq',
  'tcpreset',
  'tcpretrans',
  'virtcmdlatency',
];

describe("KubeSkoop's probes", () => {
  it.each([...METRICS_PROBES, ...PROBE_ALIASES.keys()])('%s as metrics runs here, without events', (name) => {
    const { leftOut } = converted(asking([name]));
    expect(leftOut).toBe(0);
    const ours = PROBE_ALIASES.get(name) ?? name;
    expect(running(asking([name]))[ours]?.settings).toMatchObject({ metrics: true, events: false });
  });

  it.each([...EVENT_PROBES, ...PROBE_ALIASES.keys()])('%s as events runs here, without metrics', (name) => {
    const ours = PROBE_ALIASES.get(name) ?? name;
    const { leftOut } = converted(asking([], [name]));
    expect(leftOut).toBe(0);
    expect(running(asking([], [name]))[ours]?.settings).toMatchObject({ metrics: false, events: true });
  });

  it('all have a counterpart', () => {
    for (const { probe } of KUBESKOOP) expect(counterpartOf(probe), probe).toBeTypeOf('object');
  });

  it('show the metrics from which their names are made, and no others', () => {
    for (const { probe, metrics } of KUBESKOOP) {
      const ours = PROBE_ALIASES.get(probe) ?? probe;
      const needed = Object.values(metrics).flatMap((entry) => (isMissing(entry) ? [] : [entry.metric]));
      const fields = (FIELDS[ours] ?? []).map((field) => parseField(field)?.metric);
      expect(new Set(fields), probe).toEqual(new Set(needed));
      expect(running(asking([probe]))[ours]?.fields, probe).toEqual(FIELDS[ours]);
    }
  });

  it('for UDP and IP show only IPv4, as KubeSkoop does', () => {
    for (const field of [...(FIELDS['udp'] ?? []), ...(FIELDS['ip'] ?? [])])
      if (!/_forwarding_enabled$|_default_ttl$/.test(field)) expect(field).toMatch(/\{family="ipv4"\}$/);
  });

  it('are the only ones that run', () => {
    const probes = running(asking(['netdev']));
    expect(Object.keys(probes)).toEqual(['netdev']);
    expect(probes['netdev']?.settings).toMatchObject({ metrics: true, events: false });
  });

  it("of KubeSkoop's chart have about as many series for each Pod as KubeSkoop, which has 90, except for two histograms", () => {
    const probes = Object.entries(running(fixture('manifest'))).filter(([, { settings }]) => settings.metrics);
    const counts = probes.map(([name, { fields, settings }]) => {
      const probe = PROBES.find((candidate) => candidate.name === name);
      const { buckets } = settings.options as { buckets?: Parameters<typeof shownBuckets>[0] };
      const shown = buckets && shownBuckets(buckets);
      return [
        name,
        probe === undefined ? 0 : seriesOfPod(probe, fields, shown && shown.last - shown.first + 1),
      ] as const;
    });
    const total = (some: typeof counts) => some.reduce((sum, [, count]) => sum + count, 0);
    const ofHistograms = counts.filter(([name]) => name === 'socketlatency');
    expect(total(ofHistograms)).toBe(22);
    expect(total(counts) - total(ofHistograms)).toBe(93);
  });
});

describe('a configuration of KubeSkoop', () => {
  const fields = (probe: string) => ({ fields: FIELDS[probe] });

  it('in the format of 1.0 gives the same probes, options and sinks', () => {
    const { document, lines, warnings } = converted(fixture('config'));
    expect(document).toEqual({
      probes: {
        conntrack: { events: false, ...fields('conntrack') },
        qdisc: { enabled: true, ...fields('qdisc') },
        netdev: fields('netdev'),
        io: { enabled: true, ...fields('io') },
        sock: fields('sock'),
        tcpsummary: { events: false, ...fields('tcpsummary') },
        tcp: fields('tcp'),
        tcpext: fields('tcpext'),
        udp: fields('udp'),
        kernellatency: { enabled: true, buckets: { from: '8ms', to: '16ms' } },
        packetloss: { stack: true, ...fields('packetloss') },
        flow: { events: false, ...fields('flow') },
        tcpretrans: fields('tcpretrans'),
        biolatency: { enabled: true, metrics: false },
        tcpreset: { metrics: false },
        ip: false,
        icmp: false,
        softnet: false,
        tcpconnect: false,
        changes: false,
        lifecycle: false,
        tooluse: false,
      },
      sinks: { stdout: {}, file: { path: '/var/log/kubeskoop/events.json' } },
    });
    expect(lines).toContain('  packetloss:  # metrics.probes.10, line 15; event.probes.2, line 24');
    expect(warnings.map((warning) => warning.split(': ').slice(0, 2).join(': '))).toEqual([
      'line 6: metrics.probes.1',
      'line 8: metrics.probes.3',
      'line 18: metrics.probes.11.args.enablePortInLabel',
      'line 31: event.sinks.1',
    ]);
    expect(warnings[0]).toContain('CAP_SYS_ADMIN');
    expect(warnings[3]).toContain('mount a directory');
  });

  it('is found in the manifest of a whole deployment, with its lines and its namespace', () => {
    const { document, lines, warnings, leftOut } = converted(fixture('manifest'));
    expect(document.sinks).toEqual({
      stdout: {},
      loki: { url: 'http://loki-service.kubeskoop:3100', structuredMetadata: false },
    });
    expect(document.log).toEqual({ level: 'debug' });
    expect(lines[0]).toContain('ConfigMap kubeskoop/kubeskoop-config');
    expect(fixture('manifest').split('\n')[54]).toContain('name: packetloss');
    expect(lines).toContain('  packetloss:  # metrics.probes.10, line 47; event.probes.1, line 55');
    expect(leftOut).toBe(2);
    expect(warnings[0]).toMatch(/^line 34: enableController: true: left out: netsonde has no controller/);
    expect(warnings.at(-1)).toMatch(/structuredMetadata is false/);
  });

  it('in the format of 0.1 gives the same', () => {
    const { document, warnings } = converted(fixture('first_form'));
    expect(document.probes).toMatchObject({
      socketlatency: { enabled: true },
      softirq: { enabled: true, vectors: ['net_rx'] },
      virtcmdlatency: { enabled: true },
      tcpreset: { metrics: false },
      conntrack: false,
    });
    expect(document.sinks).toEqual({
      loki: { url: 'http://grafana-loki-service.kubeskoop.svc:3100', structuredMetadata: false },
    });
    expect(document.labels).toEqual({ component: 'app' });
    const leftOut = warnings.filter((warning) => warning.includes('left out'));
    expect(leftOut.map((warning) => warning.split(': ')[1])).toEqual([
      'metric_config.interval',
      'metric_config.verbose',
      'metric_config.expose_labels.0',
      'metric_config.probes.4',
      'event_config.port',
    ]);
  });

  it('with labels and arguments keeps those that have a counterpart', () => {
    const { document, warnings } = converted(fixture('labels_and_arguments'));
    expect(document.labels).toEqual({ app: 'app.kubernetes.io/name', env: 'env' });
    expect(document.sinks).toEqual({ loki: { url: 'http://[fd00::10]:3100', structuredMetadata: false } });
    expect(document.probes).toMatchObject({
      softirq: { enabled: true, vectors: ['net_rx', 'timer', 'rcu'] },
      netiftxlatency: { enabled: true, events: false },
      socketlatency: { enabled: true, metrics: false },
      packetloss: { metrics: false, stack: true },
    });
    const said = warnings.join('\n');
    for (const part of [
      'line 1: address: "tcp://10.0.0.7:9200": left out: the listen address is not part of the configuration; use `netsonde serve --listen 10.0.0.7:9200`',
      'line 3: controllerAddr: "dns:controller.kubeskoop:10263": left out: ',
      'line 8: metrics.additionalLabels.2: "region=eu-west-1": left out: ',
      `line 10: metrics.additionalLabels.4: "node=\${labels:node}": left out: netsonde requires another name: the label node exists already`,
      'line 25: event.probes.0.args.softirq-types: ["nett"]: left out: ',
      'line 27: event.probes.2: "conntrack": an event is sent when the table is nearly full',
      'line 35: event.sinks.1: {"name":"loki","args":{"addr":"loki.example"}}: left out: there can be only one sink loki',
      'line 38: event.sinks.2: {"name":"kafka","args":{}}: left out: there is no such sink; the sinks are stdout, file, loki and otlp',
    ]) {
      expect(said).toContain(part);
    }
  });

  it('may be wrapped into our ConfigMap', () => {
    const { text } = convertText(fixture('manifest'), 'configmap');
    const { data, ...head } = parse(text);
    const { data: _, ...shipped } = parse(
      readFileSync(new URL('../../manifests/base/configmap.yaml', import.meta.url), 'utf8'),
    );
    expect(head).toEqual(shipped);
    expect(data['netsonde.yaml']).toBe(convertText(fixture('manifest'), 'yaml').text);
  });

  it('may be a List of kubectl, or JSON', () => {
    const map = (name: string, text: string) => ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name, namespace: 'kubeskoop' },
      data: { 'config.yaml': text },
    });
    const items = [map('other', 'listen: 80\n'), map('kubeskoop-config', fixture('config'))];
    const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
    const { document, lines } = converted(list);
    expect(document).toEqual(converted(fixture('config')).document);
    // Line numbers within a quoted scalar differ from those of the file, so the comment gives the path instead.
    expect(lines).toContain('  tcpsummary:  # metrics.probes.5');
  });

  it.each([
    ['sinks that are texts', 'event: { sinks: [stderr] }', { stdout: {} }],
    ['no sinks', 'event: { sinks: }', {}],
    ['nothing', 'metrics:', {}],
    [
      'an address of Loki',
      'event: { sinks: [{ name: loki, args: { addr: 10.1.2.3 } }] }',
      { loki: { url: 'http://10.1.2.3:3100', structuredMetadata: false } },
    ],
  ])('with %s is taken', (_, text, sinks) => {
    expect(converted(text).document.sinks).toEqual(sinks);
  });

  it.each([
    [
      'port: 10080',
      'port: 10080: left out: the listen address is not part of the configuration; use `netsonde serve --listen :10080`',
    ],
    ['address: unix:///run/k.sock', 'address: "unix:///run/k.sock": left out: '],
    ['interval: 15', 'interval: left out: KubeSkoop does not know this key'],
    ['metrics: { probes: [{ name: tcp, enabled: false }] }', 'metrics.probes.0.enabled: left out: '],
    [
      'metrics: { probes: [tcpreste] }',
      'metrics.probes.0: "tcpreste": left out: neither KubeSkoop nor netsonde has such a probe (did you mean tcpreset?)',
    ],
    [
      'metrics: { probes: [&a { name: tcp, args: { x: *a } }] }',
      'line 1: metrics.probes.0.args.x: a value that contains itself: left out: ',
    ],
    ['metrics: { probes: [tcp, tcp] }', 'metrics.probes.1: "tcp": duplicate probe; this entry is used'],
    [
      'event: { probes: [{ name: packetloss, args: { constructor: 1 } }] }',
      'event.probes.0.args.constructor: 1: left out: ',
    ],
    ['metrics: { probes: [info] }', 'metrics.probes.0: "info": left out: '],
    ['event: { probes: [tcp] }', 'event.probes.0: "tcp": left out: the probe tcp has metrics only'],
    [
      'event: { probes: [{ name: packetloss, args: { enableStack: "yes" } }] }',
      'event.probes.0.args.enableStack: "yes": left out: the option stack of packetloss does not accept it',
    ],
    [
      'event: { probes: [{ name: tcpreset, args: { enableStack: true } }] }',
      'event.probes.0.args.enableStack: true: left out: the probe tcpreset has no such option',
    ],
    [
      'event: { sinks: [{ name: file, args: { path: events.json } }] }',
      'event.sinks.0: {"name":"file","args":{"path":"events.json"}}: left out: its `path` is not absolute',
    ],
    [
      'event: { sinks: [{ name: loki, args: { addr: "http://loki:3100" } }] }',
      'event.sinks.0: {"name":"loki","args":{"addr":"http://loki:3100"}}: left out: its `addr` is neither',
    ],
    ['event: { sinks: [loki] }', 'event.sinks.0: {"name":"loki","args":{}}: left out: its `addr` is neither'],
    ['event: { sinks: [{ name: loki, args: { addr: 1.2.3.999 } }] }', 'left out: its `addr` is neither'],
    [
      'event: { sinks: [{ name: loki, args: { addr: loki.x, tenant: a } }] }',
      'event.sinks.0.args.tenant: "a": left out: KubeSkoop\'s sink loki ignores it',
    ],
    [
      'event: { sinks: [{ name: loki, args: { addr: loki } }] }',
      'the name of a Service is resolved in the namespace of netsonde',
    ],
    [`metrics: { additionalLabels: ["__proto__=\${labels:a}", "b"] }`, 'metrics.additionalLabels.1: "b": left out: '],
  ])('%s has a warning', (line, warning) => {
    const text = /^(metrics|event):/.test(line) ? line : `metrics: {}\n${line}`;
    expect(converted(text).warnings.join('\n')).toContain(warning);
  });

  it('has at most as many labels as we allow', () => {
    const labels = Array.from({ length: 10 }, (_, index) => `l${index}=\${labels:l${index}}`);
    const { document, warnings } = converted(stringify({ metrics: { additionalLabels: labels } }));
    expect(Object.keys(document.labels ?? {})).toHaveLength(8);
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toContain(`"l8=\${labels:l8}": left out: netsonde requires at most 8 labels`);
  });

  it('cannot put anything but its values into the configuration', () => {
    const text = stringify({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'x\nprobes: {}', namespace: 'y\ndetail: full' },
      data: {
        'config.yaml': stringify({
          metrics: { additionalLabels: [`a # b=\${labels:c}`, `d=\${labels:e #f}`] },
          event: {
            sinks: [
              { name: 'file', args: { path: '/x # "y\nsinks: {}' } },
              { name: 'loki', args: { addr: 'h\nlog: {}' } },
            ],
          },
        }),
      },
    });
    const { document } = converted(text);
    expect(Object.keys(document)).toEqual(['probes', 'sinks']);
    expect(document.sinks).toEqual({ file: { path: '/x # "y\nsinks: {}' } });
  });
});

/** An arbitrary value that replaces a valid one in a configuration. */
const anything = fc.anything({ maxDepth: 2, withNullPrototype: false });
const entry = fc.oneof(
  fc.record({
    name: fc.oneof(fc.constantFrom(...PROBES.map(({ name }) => name), 'loki', 'file', 'flow'), fc.string()),
    args: fc.dictionary(fc.constantFrom('addr', 'path', 'enableStack', 'softirq-types', 'x'), anything),
  }),
  anything,
);

it('is converted to a valid configuration, or refused, whatever its content', () => {
  fc.assert(
    fc.property(
      fc.record({
        metrics: fc.record({
          probes: fc.array(entry, { maxLength: 4 }),
          additionalLabels: fc.array(
            fc.oneof(
              fc.string(),
              fc.string().map((name) => `${name}=\${labels:${name}}`),
            ),
            { maxLength: 3 },
          ),
        }),
        event: fc.record({ probes: fc.array(entry, { maxLength: 4 }), sinks: fc.array(entry, { maxLength: 3 }) }),
      }),
      (config) => {
        const text = JSON.stringify(config);
        try {
          reader.parse(convertText(text, 'yaml').text);
        } catch (error) {
          expect(error).toBeInstanceOf(NotKubeskoop);
        }
      },
    ),
    { numRuns: 150 },
  );
});
