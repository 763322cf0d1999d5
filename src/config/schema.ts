import * as z from 'zod';
import type { DesiredProbes } from '../door.ts';
import type { AnyProbe } from '../probes/probe.ts';
import { EVENTS, type EventsConfig } from './events.ts';
import { LOG_LOKI, type LogLokiConfig, SINKS, type SinksConfig } from './sinks.ts';

const DETAIL = z.enum(['core', 'full']);
export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const EVENTS_PER_SECOND = 100;
const EVENTS_PER_SECOND_MAX = 100_000;

export interface ProbeConfig {
  readonly enabled: boolean;
  readonly metrics: boolean;
  readonly events: boolean;
  readonly detail?: 'core' | 'full' | undefined;
  readonly limit: number;
  readonly options: Readonly<Record<string, unknown>>;
}

export interface LogConfig {
  readonly level: LogLevel;
  readonly loki?: LogLokiConfig | undefined;
}

/** What is not of the probes. */
export const SECTIONS = {
  events: z.prefault(EVENTS, {}),
  sinks: SINKS,
  log: z
    .prefault(z.strictObject({ level: z.enum(LOG_LEVELS).default('info'), loki: LOG_LOKI.optional() }), {})
    .describe("The agent's own log."),
};

/** The whole configuration, with every default filled in. */
export interface Config {
  readonly detail: 'core' | 'full';
  readonly probes: Readonly<Record<string, ProbeConfig>>;
  readonly events: EventsConfig;
  readonly sinks: SinksConfig;
  readonly log: LogConfig;
}

/** A key with nothing behind it means all defaults. */
function orDefaults(value: unknown): unknown {
  return value ?? {};
}

/** `packetloss: false` */
function orSwitch(value: unknown): unknown {
  return typeof value === 'boolean' ? { enabled: value } : orDefaults(value);
}

function probeSchema({ enabledByDefault, events, options }: AnyProbe): z.ZodType<ProbeConfig> {
  const hasEvents = Object.keys(events).length > 0;
  const common = {
    enabled: z.boolean().default(enabledByDefault).describe('Run the probe.'),
    metrics: z.boolean().default(true).describe('Show its metrics.'),
    detail: DETAIL.optional().describe('Which of its metrics, where it is not to be as for all probes.'),
  };
  const forEvents = {
    events: z.boolean().default(true).describe('Send its events.'),
    limit: z
      .int()
      .min(1)
      .max(EVENTS_PER_SECOND_MAX)
      .default(EVENTS_PER_SECOND)
      .describe('Events a second that one network namespace may cause; more are counted, not sent.'),
  };
  const schema = z.strictObject({ ...common, ...(hasEvents ? forEvents : {}), ...options });
  const own = Object.keys(options);
  return z.preprocess(
    orSwitch,
    schema.transform((value: Record<string, unknown>) => ({
      enabled: value['enabled'] as boolean,
      metrics: value['metrics'] as boolean,
      events: hasEvents && (value['events'] as boolean),
      detail: value['detail'] as 'core' | 'full' | undefined,
      limit: (value['limit'] as number | undefined) ?? EVENTS_PER_SECOND,
      options: Object.fromEntries(own.map((key) => [key, value[key]])),
    })),
  );
}

/** The schema of the document for these probes. */
export function configSchema(probes: readonly AnyProbe[]): z.ZodType<Config> {
  const byName = Object.fromEntries(
    probes.map((probe) => [probe.name, z.prefault(probeSchema(probe) as z.ZodType<ProbeConfig, unknown>, {})]),
  );
  return z.strictObject({
    detail: DETAIL.default('core').describe('Which metrics: `core`, at most 60 series a Pod, or `full`.'),
    probes: z.prefault(z.strictObject(byName), {}),
    ...SECTIONS,
  }) as unknown as z.ZodType<Config>;
}

/** What the kernel thread is asked for. */
export function desiredProbes({ detail, probes }: Config): DesiredProbes {
  const enabled = Object.entries(probes).filter(([, probe]) => probe.enabled);
  return Object.fromEntries(
    enabled.map(([name, probe]) => [
      name,
      {
        detail: probe.detail ?? detail,
        settings: { metrics: probe.metrics, events: probe.events, limit: probe.limit, options: probe.options },
      },
    ]),
  );
}
