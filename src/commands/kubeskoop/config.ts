import * as z from 'zod';
import { isMapping, type Mapping } from '#config/document.ts';
import { cutJson, faultsOf, formatFault } from '#config/faults.ts';
import { hasKubeskoopKeys, type Input, NotKubeskoop } from './input.ts';

type Path = readonly PropertyKey[];

/** A value in KubeSkoop's configuration, with its path. */
export interface Given<Value> {
  readonly path: Path;
  readonly value: Value;
}

export interface Named {
  readonly name: string;
  readonly args: Mapping;
}

/** KubeSkoop's configuration, from either of its two formats. */
export interface KubeskoopConfig {
  readonly metricProbes: readonly Given<Named>[];
  readonly eventProbes: readonly Given<Named>[];
  readonly sinks: readonly Given<Named>[];
  /** Labels in the form `NAME=TEMPLATE`. */
  readonly labels: readonly Given<string>[];
  readonly debug?: Given<boolean> | undefined;
  /** All other keys that KubeSkoop supports. */
  readonly rest: readonly Given<unknown>[];
  /** Keys that KubeSkoop ignores, because it does not support them. */
  readonly unknown: readonly Given<unknown>[];
}

type Shape = typeof z.strictObject;

/**
 * Schema of a probe or sink. `- tcp` is short for `- name: tcp`. Version 0.1 supports only the short form for probes.
 */
function namedSchema(object: Shape) {
  return z.preprocess(
    (value) => (typeof value === 'string' ? { name: value } : value),
    object({ name: z.string(), args: z.record(z.string(), z.unknown()).nullish() }),
  );
}

/** Format of version 1.0. KubeSkoop's chart writes `debugmode`, which KubeSkoop does not read. */
function currentSchema(object: Shape) {
  const list = z.array(namedSchema(object)).nullish();
  return object({
    debugMode: z.boolean().nullish(),
    debugmode: z.boolean().nullish(),
    port: z.int().nullish(),
    address: z.string().nullish(),
    enableController: z.boolean().nullish(),
    controllerAddr: z.string().nullish(),
    metrics: object({ probes: list, additionalLabels: z.array(z.string()).nullish() }).nullish(),
    event: object({ probes: list, sinks: list }).nullish(),
  });
}

/** Format of version 0.1. */
function firstSchema(object: Shape) {
  const list = z.array(namedSchema(object)).nullish();
  const label = object({ source: z.string(), type: z.string().nullish(), replace: z.string().nullish() });
  return object({
    debugmode: z.boolean().nullish(),
    metric_config: object({
      interval: z.number().nullish(),
      port: z.int().nullish(),
      verbose: z.boolean().nullish(),
      expose_labels: z.array(label).nullish(),
      probes: list,
    }).nullish(),
    event_config: object({
      port: z.int().nullish(),
      infotolog: z.boolean().nullish(),
      loki_enable: z.boolean().nullish(),
      loki_address: z.string().nullish(),
      probes: list,
    }).nullish(),
  });
}

/** Top-level keys of netsonde's configuration that do not exist in KubeSkoop's. */
const OURS = [
  'probes',
  'sinks',
  'detail',
  'labels',
  'events',
  'peers',
  'external',
  'nodes',
  'log',
  'bpfStats',
  'limits',
];

/**
 * Reads a configuration in either of KubeSkoop's formats.
 * @throws {NotKubeskoop} with all errors in the document
 */
export function readConfig(input: Input): KubeskoopConfig {
  const { document } = input;
  if (!hasKubeskoopKeys(document)) throw new NotKubeskoop(strangerText(document));
  return 'metric_config' in document || 'event_config' in document ? readFirst(input) : readCurrent(input);
}

function strangerText(document: Mapping): string {
  const needed = 'has neither `metrics` nor `event`';
  if (isMapping(document['config']) && 'metricProbes' in document['config']) {
    return `${needed}: these are values of KubeSkoop's chart; give the configuration that it renders: \`kubectl -n kubeskoop get configmap kubeskoop-config -o yaml\`, or \`helm template …\``;
  }
  const ours = OURS.filter((key) => key in document);
  if (ours.length > 0) return `${needed}, but ${ours.join(', ')}: this is a netsonde configuration already`;
  return `${needed}: this is not a KubeSkoop configuration; its keys are ${cutJson(Object.keys(document))}`;
}

function readCurrent(input: Input): KubeskoopConfig {
  const { value, unknown } = validate(input, currentSchema);
  const { debugMode, debugmode, metrics, event, ...others } = value;
  return {
    metricProbes: namedOf(metrics?.probes, ['metrics', 'probes']),
    eventProbes: namedOf(event?.probes, ['event', 'probes']),
    sinks: namedOf(event?.sinks, ['event', 'sinks']),
    labels: (metrics?.additionalLabels ?? []).map((label, index) => ({
      path: ['metrics', 'additionalLabels', index],
      value: label,
    })),
    debug: givenOf(debugMode, 'debugMode') ?? givenOf(debugmode, 'debugmode'),
    rest: restOf(others, []),
    unknown,
  };
}

function readFirst(input: Input): KubeskoopConfig {
  const { value, unknown } = validate(input, firstSchema);
  const { probes: metricProbes, expose_labels: labels, ...metrics } = value.metric_config ?? {};
  const {
    probes: eventProbes,
    infotolog,
    loki_enable: toLoki,
    loki_address: addr,
    ...events
  } = value.event_config ?? {};
  const sink = (key: string, name: string, args: Mapping) => ({ path: ['event_config', key], value: { name, args } });
  return {
    metricProbes: namedOf(metricProbes, ['metric_config', 'probes']),
    eventProbes: namedOf(eventProbes, ['event_config', 'probes']),
    sinks: [
      ...(infotolog === true ? [sink('infotolog', 'stderr', {})] : []),
      ...(toLoki === true ? [sink('loki_address', 'loki', { addr: addr ?? '' })] : []),
    ],
    labels: (labels ?? []).map(({ source, type, replace }, index) => ({
      path: ['metric_config', 'expose_labels', index],
      // Version 0.1 can only use labels and fields of the Pod.
      value: `${replace || source}=\${${type === 'label' ? 'labels' : type}:${source}}`,
    })),
    debug: givenOf(value.debugmode, 'debugmode'),
    rest: [...restOf(metrics, ['metric_config']), ...restOf(events, ['event_config'])],
    unknown,
  };
}

function namedOf(list: readonly { name: string; args?: Mapping | null | undefined }[] | null | undefined, path: Path) {
  return (list ?? []).map(({ name, args }, index) => ({ path: [...path, index], value: { name, args: args ?? {} } }));
}

function givenOf<Value>(value: Value | null | undefined, key: string): Given<Value> | undefined {
  return value === null || value === undefined ? undefined : { path: [key], value };
}

function restOf(mapping: Mapping, path: Path): Given<unknown>[] {
  return Object.entries(mapping)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([key, value]) => ({ path: [...path, key], value }));
}

/** Parses a document with a schema that allows unknown keys. Returns the value and the unknown keys. */
function validate<Output>({ document, lineOf }: Input, schemaOf: (object: Shape) => z.ZodType<Output>) {
  const { issues } = schemaOf(z.strictObject).safeParse(document).error ?? { issues: [] };
  const faults = issues
    .filter(({ code }) => code !== 'unrecognized_keys')
    .flatMap((issue) => {
      const line = lineOf(issue.path);
      const place = line === undefined ? '' : `line ${line}: `;
      return faultsOf(new z.ZodError([issue]), { path: [], document }, () => []).map(
        (fault) => `${place}${formatFault(fault)}`,
      );
    });
  if (faults.length > 0) throw new NotKubeskoop(faults.join('\n'));
  const unknown = issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => ({ path: [...issue.path, key], value: undefined }))
      : [],
  );
  return { value: schemaOf(z.object as unknown as Shape).parse(document), unknown };
}
