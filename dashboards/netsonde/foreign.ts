import type { ForeignMetric } from './promql.ts';

/** Metrics about the agent that come from Prometheus itself or have the names of the client library for Node.js. */

export const UP = {
  name: 'up',
  type: 'gauge',
  help: '1 where Prometheus could scrape the target.',
  labels: {},
} as const satisfies ForeignMetric;

/** Matches the agent's scrape job, whose name is `namespace/name` with a PodMonitor. */
export const AGENT_JOB = 'job=~".*netsonde.*"';

export const CPU_SECONDS = {
  name: 'process_cpu_seconds_total',
  type: 'counter',
  unit: 'seconds',
  help: 'CPU time that the agent spent.',
  labels: {},
} as const satisfies ForeignMetric;

export const RESIDENT_MEMORY = {
  name: 'process_resident_memory_bytes',
  type: 'gauge',
  unit: 'bytes',
  help: 'Memory that the agent holds.',
  labels: {},
} as const satisfies ForeignMetric;
