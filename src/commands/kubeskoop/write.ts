import { stringify } from 'yaml';
import { pathText } from '#config/faults.ts';
import type { Conversion, Section } from './conversion.ts';
import type { Input } from './input.ts';

type Path = readonly PropertyKey[];

/** Writes the converted configuration as YAML. Comments name the origin of each part. */
export function writeConfig(conversion: Conversion, { lineOf, configMap }: Input): string {
  const place = (path: Path) => {
    const line = lineOf(path);
    return line === undefined ? pathText(path) : `${pathText(path)}, line ${line}`;
  };
  const lines = [
    `# Converted from KubeSkoop's configuration${configMap === '' ? '' : ` in the ConfigMap ${configMap}`} by netsonde convert. Comments name the origin of each part.`,
    ...probeLines(conversion, place),
    ...sinkLines(conversion.sinks, place),
    ...labelLines(conversion, place),
    ...(conversion.debug === undefined ? [] : ['log:', `  level: debug  # ${place(conversion.debug.path)}`]),
  ];
  return `${lines.join('\n')}\n`;
}

/** Formats a value on one line. */
function flow(value: unknown): string {
  const oneLine = { lineWidth: 0, blockQuote: false, singleQuote: false, doubleQuotedAsJSON: true } as const;
  return stringify(value, { collectionStyle: 'flow', ...oneLine }).trimEnd();
}

function sectionLine({ name, from, remark }: Section, value: string, place: (path: Path) => string): string {
  const comment = [...from.map(place), ...(remark === undefined ? [] : [remark])].join('; ');
  return `  ${name}:${value === '' ? '' : ` ${value}`}  # ${comment}`;
}

function probeLines({ probes, notAsked }: Conversion, place: (path: Path) => string): string[] {
  const isListed = probes.some(({ options }) => 'fields' in options);
  return [
    'probes:',
    ...(isListed
      ? [
          "  # fields limits a probe to the metrics that KubeSkoop shows (docs/kubeskoop-names.md). Delete it for netsonde's default.",
        ]
      : []),
    ...probes.flatMap((section) => probeLine(section, place)),
    ...(notAsked.length === 0 ? [] : ['  # Not in the file, but on by default. Delete a line to run the probe.']),
    ...notAsked.map((name) => `  ${name}: false`),
  ];
}

/** Formats a probe. `fields` is written with one entry per line, because it has many entries. */
function probeLine(section: Section, place: (path: Path) => string): string[] {
  const { fields, ...options } = section.options;
  if (!Array.isArray(fields)) return [sectionLine(section, isSwitch(section) ? 'true' : flow(options), place)];
  return [
    sectionLine(section, '', place),
    ...Object.entries(options).map(([key, value]) => `    ${key}: ${flow(value)}`),
    '    fields:',
    ...fields.map((field) => `      - ${flow(field)}`),
  ];
}

function isSwitch({ options }: Section): boolean {
  return ['', 'enabled'].includes(Object.keys(options).join());
}

function sinkLines(sinks: readonly Section[], place: (path: Path) => string): string[] {
  if (sinks.length === 0) return ['sinks: {}  # no sinks; events are only on /api/v1/events'];
  return ['sinks:', ...sinks.map((sink) => sectionLine(sink, flow(sink.options), place))];
}

function labelLines({ labels }: Conversion, place: (path: Path) => string): string[] {
  if (labels.length === 0) return [];
  return ['labels:', ...labels.map(({ name, value, path }) => `  ${flow(name)}: ${flow(value)}  # ${place(path)}`)];
}

const INDENT = '    ';

/** Returns the ConfigMap of `manifests/base` with this configuration. */
export function writeConfigMap(config: string): string {
  return [
    'apiVersion: v1',
    'kind: ConfigMap',
    'metadata:',
    '  name: netsonde',
    '  namespace: netsonde',
    '  labels:',
    '    app.kubernetes.io/name: netsonde',
    'data:',
    '  netsonde.yaml: |',
    config.replace(/^(?=.)/gm, INDENT),
  ].join('\n');
}
