/**
 * Enumerations of the API. This file must not import anything, because both the agent and the web page load it at run
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

/** Roles of a Pod in a connection. The client opened the connection, and the server accepted it. */
export const FLOW_ROLES = ['client', 'server'] as const;
export type FlowRole = (typeof FLOW_ROLES)[number];

/** Reasons why a connection was never established. */
export const FLOW_FAILURES = ['refused', 'timeout', 'unreachable', 'given_up', 'no_port', 'other'] as const;
export type FlowFailure = (typeof FLOW_FAILURES)[number];

/** Ways in which an established connection ended. */
export const FLOW_ENDS = ['closed', 'reset_by_peer', 'reset_here', 'timeout', 'other'] as const;
export type FlowEnd = (typeof FLOW_ENDS)[number];

export const PEER_KINDS = ['pod', 'service', 'node', 'external'] as const;

export const SINK_STATES = ['running', 'failed'] as const;
export type SinkState = (typeof SINK_STATES)[number];

/**
 * Where records are first counted: in a BPF program (`kernel`), or in the agent after the probe has read them
 * (`agent`).
 */
export const LEDGER_STAGES = ['kernel', 'agent'] as const;

/** Reasons why a record did not reach a sink. */
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
