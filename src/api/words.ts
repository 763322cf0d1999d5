/**
 * Values that an answer of the API chooses from. The file has no dependencies: agent and page read the lists at run
 * time.
 */

export const PROBE_KINDS = ['procfs', 'netlink', 'ebpf'] as const;
export type ProbeKind = (typeof PROBE_KINDS)[number];

export const PROBE_COSTS = ['low', 'medium', 'high'] as const;
export type ProbeCost = (typeof PROBE_COSTS)[number];

export const PROBE_STATES = [
  'stopped',
  'starting',
  'running',
  'degraded',
  'unsupported',
  'failed',
  'stopping',
] as const;
export type ProbeState = (typeof PROBE_STATES)[number];

export const ENTITY_KINDS = ['node', 'pod', 'container', 'netns', 'process'] as const;
export type EntityKind = (typeof ENTITY_KINDS)[number];

export const SEVERITIES = ['info', 'warning', 'critical'] as const;
export type Severity = (typeof SEVERITIES)[number];

export const PEER_KINDS = ['pod', 'service', 'node', 'external'] as const;

export const SINK_STATES = ['running', 'failed'] as const;
export type SinkState = (typeof SINK_STATES)[number];

/** Stage where events are counted first: in a program in the kernel, or where the probe examines what it read. */
export const LEDGER_STAGES = ['kernel', 'agent'] as const;

/** Reasons why a sink did not get a record. */
export const DROP_REASONS = [
  'queue_full',
  'spool_full',
  'spool_damaged',
  'unknown_kind',
  'left_in_spool',
  'rejected',
  'write_failed',
  'shutdown',
  'not_configured',
] as const;
export type DropReason = (typeof DROP_REASONS)[number];
