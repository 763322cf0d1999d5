import * as z from 'zod';
import { parseDuration } from '#core/duration.ts';
import { parsePercent } from '#core/percent.ts';
import type { PodFilter } from '#core/pod_filter.ts';
import type { PrivacyRules } from '#core/privacy.ts';
import { KINDS } from '#core/record_kinds.ts';
import { Selector } from '#core/selector.ts';
import type { ExternalConfig } from '#peers/external.ts';
import { PEERS, type Peers } from '#peers/peer.ts';
import type { PodLabels } from '#pods/labels.ts';
import type { AnyProbe } from '#probe/contract.ts';
import type { MetricDescriptor } from '#probe/metric.ts';
import { type RecordRules, recordsSchema } from '#probe/records.ts';
import type { Mapping, TimedSection } from './document.ts';
import { EVENTS, type EventsConfig } from './events.ts';
import { EXTERNAL } from './external.ts';
import { fieldsSchema } from './fields.ts';
import { LIMITS, type LimitsConfig } from './limits.ts';
import { podLabelsSchema } from './pod_labels.ts';
import { PRIVACY } from './privacy.ts';
import { LOG_LOKI, type LogLokiConfig, type SinksConfig, sinksSchema } from './sinks.ts';

const DETAIL = z.enum(['core', 'full']);
const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const EVENTS_PER_SECOND = 100;
const EVENTS_PER_SECOND_MAX = 100_000;

export interface ProbeConfig {
  readonly enabled: boolean;
  readonly metrics: boolean;
  readonly events: boolean;
  readonly detail?: 'core' | 'full' | undefined;
  /**
   * The only series that the probe shows. Each entry is the name of a metric, optionally with label values that select
   * some of its series.
   */
  readonly fields?: readonly string[] | undefined;
  readonly limit: number;
  /** Rules that select records; set only if the probe has records. */
  readonly records?: RecordRules | undefined;
  /** Maximum CPU time of the probe, as a fraction of one CPU. */
  readonly budget?: number | undefined;
  readonly pods?: PodFilter | undefined;
  readonly options: Readonly<Record<string, unknown>>;
}

export interface LogConfig {
  readonly level: LogLevel;
  readonly loki?: LogLokiConfig | undefined;
}

/**
 * Returns the schemas of all sections except the sections of the probes and the top-level settings.
 * @param kinds all record kinds
 */
export function sections(kinds: readonly string[]) {
  return {
    limits: LIMITS,
    events: z.prefault(EVENTS, {}),
    sinks: sinksSchema(kinds),
    log: z
      .prefault(z.strictObject({ level: z.enum(LOG_LEVELS).default('info'), loki: LOG_LOKI.optional() }), {})
      .describe("The agent's log."),
  };
}

/** The whole configuration, with all defaults filled in. */
export interface Config {
  readonly detail: 'core' | 'full';
  readonly bpfStats: boolean;
  readonly limits: LimitsConfig;
  readonly probes: Readonly<Record<string, ProbeConfig>>;
  readonly labels: PodLabels;
  readonly peers: Peers;
  readonly external: ExternalConfig;
  readonly privacy: PrivacyRules;
  readonly events: EventsConfig;
  readonly sinks: SinksConfig;
  readonly log: LogConfig;
  /** Probe sections with `for` or `until`, including expired ones. */
  readonly timed: readonly TimedSection[];
  /** The document with all defaults filled in, to be shown to users. Values that may be secret are hidden. */
  readonly document: Mapping;
}

/** Reads a key without a value as an empty mapping. */
function orDefaults(value: unknown): unknown {
  return value ?? {};
}

/** Reads the short form `packetloss: false` as a mapping. */
function orSwitch(value: unknown): unknown {
  return typeof value === 'boolean' ? { enabled: value } : orDefaults(value);
}

/**
 * Returns the schema of a string that must pass a test.
 * @param allowed description of the valid strings, for error messages
 */
function textOf(isGood: (text: string) => boolean, allowed: string): z.ZodType<string> {
  return z.custom<string>((value) => typeof value === 'string' && isGood(value), allowed);
}

const SECOND = 1e9;
const FOR_MAX = 8_760 * 3_600 * SECOND;

function isTime(text: string): boolean {
  const nanoseconds = parseDuration(text) ?? 0;
  return nanoseconds >= SECOND && nanoseconds <= FOR_MAX;
}

/** Timestamp in RFC 3339. */
const TIMESTAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;

function isTimestamp(text: string): boolean {
  return TIMESTAMP.test(text) && !Number.isNaN(Date.parse(text));
}

const BUDGET_MIN = 0.0001;
/**
 * Maximum budget, as a fraction of one CPU. It is more than 1, because a probe may run on many CPUs at the same time.
 */
const BUDGET_MAX = 64;

function isBudget(text: string): boolean {
  const share = parsePercent(text) ?? 0;
  return share >= BUDGET_MIN && share <= BUDGET_MAX;
}

const NAMESPACE = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const GLOB = /^[\w.*?-]{1,253}$/;

const AIM = {
  namespaces: z
    .array(textOf((text) => NAMESPACE.test(text), 'the name of a Kubernetes namespace'))
    .min(1)
    .optional()
    .describe('Pods in one of these Kubernetes namespaces.'),
  selector: z
    .string()
    .superRefine((text, context) => {
      try {
        Selector.parse(text);
      } catch (error) {
        context.addIssue({ code: 'custom', message: `a label selector: ${(error as Error).message}` });
      }
    })
    .optional()
    .describe('Pods with these labels, in the syntax of Kubernetes: `app=web,tier!=x`, `env in (a, b)`, `!canary`.'),
  names: z
    .array(textOf((text) => GLOB.test(text), 'a name, with * for any characters and ? for any single one'))
    .min(1)
    .optional()
    .describe('Pods with one of these names; `*` matches any characters, `?` any single one.'),
};

export const POD_FILTER_KEYS = Object.keys(AIM);

/** Whether the BPF programs of a probe can ignore some Pods, which requires that they distinguish Pods. */
export function canFilterPods({ kind, metrics }: AnyProbe): boolean {
  return kind === 'ebpf' && Object.values<MetricDescriptor>(metrics).some(({ scope }) => scope === 'pod');
}

const NO_AIM = z
  .custom<never>(
    () => false,
    'nothing: only eBPF probes that distinguish Pods, such as packetloss, can be limited to some Pods',
  )
  .optional();

export const FOR_EVENTS = {
  events: z.boolean().default(true).describe('Send the events of the probe.'),
  limit: z
    .int()
    .min(1)
    .max(EVENTS_PER_SECOND_MAX)
    .default(EVENTS_PER_SECOND)
    .describe(
      'Events per second per Pod, over all of its network namespaces. Unowned namespaces share one such limit. Events beyond it are counted, but not sent.',
    ),
};

const LISTED =
  'A list shows only these metrics, whatever their detail. An entry is a metric, `netsonde_tcp_active_opens_total`, or some of its series, `netsonde_tcp_connections{state=~"established|time_wait"}`, selected by labels with listed values.';

/** Returns the schemas of the keys that every probe section has, in addition to the options of the probe. */
export function commonKeys(probe: AnyProbe): z.ZodRawShape {
  const hasEvents = Object.keys(probe.events).length > 0;
  return {
    enabled: z.boolean().default(probe.enabledByDefault).describe('Run the probe.'),
    metrics: z.boolean().default(true).describe('Show the metrics of the probe.'),
    detail: DETAIL.optional().describe('Detail of the metrics of the probe; the default is the top-level `detail`.'),
    fields: fieldsKey(probe),
    ...(hasEvents ? FOR_EVENTS : {}),
    ...(probe.records === undefined ? {} : { records: recordsSchema(probe.records) }),
    for: textOf(isTime, 'a duration from 1s to 8760h, like 15m')
      .optional()
      .describe(
        'Duration after which the section expires, as if it were absent. It starts when the section is first applied.',
      ),
    until: textOf(isTimestamp, 'a time with its zone, like 2026-11-21T03:00:00Z')
      .optional()
      .describe('Time at which the section expires. It is then ignored.'),
    budget: textOf(isBudget, 'a share of one CPU in percent, from 0.01% to 6400%, like 2%')
      .transform(parsePercent)
      .optional()
      .describe('Share of one CPU that the probe may use. A probe that uses more is stopped, and retried later.'),
    pods: canFilterPods(probe)
      ? z
          .preprocess(orDefaults, z.strictObject(AIM))
          .optional()
          .describe('Pods that the probe is limited to. It then also ignores the node.')
      : NO_AIM,
  };
}

/** Returns the schema of `fields`. A probe may accept special values instead of a list. */
function fieldsKey(probe: AnyProbe): z.ZodType {
  const list = fieldsSchema(probe);
  const own: z.ZodType<string> | undefined = probe.options['fields'];
  if (own === undefined) return list.optional().describe(LISTED);
  return z
    .union([own, list], { error: 'named, all, or a list of metrics' })
    .default(own.parse(undefined))
    .describe(`${own.description} ${LISTED}`);
}

/** Returns the keys that the section of a probe may have. */
export function probeKeys(probe: AnyProbe): string[] {
  const common = Object.keys(commonKeys(probe)).filter((key) => key !== 'pods' || canFilterPods(probe));
  return [...new Set([...common, ...Object.keys(probe.options)])];
}

function listOf(value: unknown): readonly string[] | undefined {
  return Array.isArray(value) ? value : undefined;
}

function probeSchema(probe: AnyProbe): z.ZodType<ProbeConfig> {
  const { events, options } = probe;
  const common = commonKeys(probe);
  const schema = z.strictObject({ ...common, ...options, fields: common['fields'] as z.ZodType });
  const own = Object.keys(options);
  return z.preprocess(
    orSwitch,
    schema.transform((value: Record<string, unknown>) => ({
      enabled: value['enabled'] as boolean,
      metrics: value['metrics'] as boolean,
      events: Object.keys(events).length > 0 && (value['events'] as boolean),
      detail: value['detail'] as 'core' | 'full' | undefined,
      fields: listOf(value['fields']),
      limit: (value['limit'] as number | undefined) ?? EVENTS_PER_SECOND,
      records: value['records'] as RecordRules | undefined,
      budget: value['budget'] as number | undefined,
      pods: value['pods'] as PodFilter | undefined,
      options: Object.fromEntries(
        own.filter((key) => key !== 'fields' || !listOf(value[key])).map((key) => [key, value[key]]),
      ),
    })),
  );
}

/** Returns the schemas of the top-level keys of the document, excluding per-node overrides. */
export function documentKeys(probes: readonly AnyProbe[], kinds: readonly string[] = KINDS) {
  const byName = Object.fromEntries(
    probes.map((probe) => [probe.name, z.prefault(probeSchema(probe) as z.ZodType<ProbeConfig, unknown>, {})]),
  );
  return {
    detail: DETAIL.default('core').describe(
      'Detail of the metrics: `core`, with about 60 to 170 series per Pod, or `full`.',
    ),
    bpfStats: z
      .boolean()
      .default(false)
      .describe(
        'Measure how long each BPF program runs, including those of other software. This costs about 60 ns per run.',
      ),
    probes: z.prefault(z.strictObject(byName), {}).describe('Sections of the probes, by name.'),
    labels: z
      .preprocess(orDefaults, podLabelsSchema(probes))
      .prefault({})
      .describe(
        'Labels that every Pod shows. Maps the name of each to the key of a Pod’s label, `@workload` or `@workload_kind`.',
      ),
    peers: z
      .enum(PEERS)
      .default('services')
      .describe(
        'Addresses that the agent resolves to names: `off` for none, `node` for those of this node and its Pods, `services` also for nodes, Services and the Pods behind them, `cluster` for all Pods.',
      ),
    external: z.preprocess(orDefaults, EXTERNAL).prefault({}).describe('Names of peers outside of the cluster.'),
    privacy: z.preprocess(orDefaults, PRIVACY).prefault({}).describe('Data of a namespace that is not shown.'),
    ...sections(kinds),
  };
}

/** Returns the schema of the document for the given probes, excluding per-node overrides. */
export function configSchema(
  probes: readonly AnyProbe[],
  kinds: readonly string[] = KINDS,
): z.ZodType<Omit<Config, 'timed' | 'document'>> {
  return z.strictObject(documentKeys(probes, kinds)) as unknown as z.ZodType<Omit<Config, 'timed' | 'document'>>;
}
