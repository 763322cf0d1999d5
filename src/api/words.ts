/**
 * Enumerations of the API. This file must not import anything, because both the agent and the web page load it at run
 * time.
 */

export const PROBE_KINDS = ['procfs', 'netlink', 'ebpf', 'socket'] as const;
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

/** Commands that read packets of a Pod or send packets as a Pod, and announce it to the agent. */
export const TOOL_COMMANDS = ['capture', 'reach'] as const;
export type ToolCommand = (typeof TOOL_COMMANDS)[number];

/** Roles of a Pod in a connection. The client opened the connection, and the server accepted it. */
export const FLOW_ROLES = ['client', 'server'] as const;
export type FlowRole = (typeof FLOW_ROLES)[number];

/** Reasons why a connection was never established. */
export const FLOW_FAILURES = ['refused', 'timeout', 'unreachable', 'given_up', 'no_port', 'other'] as const;
export type FlowFailure = (typeof FLOW_FAILURES)[number];

/** Ways in which an established connection ended. */
export const FLOW_ENDS = ['closed', 'reset_by_peer', 'reset_here', 'timeout', 'other'] as const;
export type FlowEnd = (typeof FLOW_ENDS)[number];

/** Kinds of the peers of events. */
export const EVENT_PEER_KINDS = ['pod', 'service', 'node', 'external', 'local'] as const;

/**
 * Kinds of the peers of connections. `self` is an address of the entity itself or loopback, `local` an address of a
 * network namespace of this machine without Kubernetes, and `pod` a Pod whose workload is not shown or not known. A
 * `pending` peer may get a name when all lists of the Kubernetes API have been read; an `unknown` one has none. A rule
 * of `privacy` hides a `hidden` one.
 */
export const PEER_KINDS = [
  'self',
  'service',
  'workload',
  'pod',
  'node',
  'external',
  'local',
  'pending',
  'unknown',
  'hidden',
] as const;
export type PeerKind = (typeof PEER_KINDS)[number];

/** Ends of a connection that are on this node. */
export const SEEN_BY = ['client', 'server', 'both'] as const;
export type SeenBy = (typeof SEEN_BY)[number];

/** Whether data of a probe that may be disabled is on the map. */
export const SHOWN_ON_MAP = ['shown', 'off'] as const;

export const EDGE_PROTOCOLS = ['tcp', 'udp'] as const;
export type EdgeProtocol = (typeof EDGE_PROTOCOLS)[number];

/** Protocols whose requests are counted. */
export const REQUEST_PROTOCOLS = ['http1', 'http2', 'dns_udp', 'dns_tcp'] as const;
export type RequestProtocol = (typeof REQUEST_PROTOCOLS)[number];

/** How requests end. */
export const REQUEST_OUTCOMES = ['ok', 'declined', 'failed', 'unread'] as const;
export type RequestOutcome = (typeof REQUEST_OUTCOMES)[number];

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

/**
 * Causes of incidents. Each explains those that follow it: if events of several causes have the same connection, the
 * first cause is that of the incident.
 */
export const INCIDENT_CAUSES = [
  'accept_queue',
  'conntrack_full',
  'firewall',
  'mtu',
  'route',
  'full_queue',
  'other_drop',
  'refused',
  'reset',
  'unreachable',
  'no_port',
  'no_answer',
  'loss',
] as const;
export type IncidentCause = (typeof INCIDENT_CAUSES)[number];

export const INCIDENT_STATES = ['open', 'ended'] as const;

/** Verdicts of policies about the connection of an event. `none` means that no policy selects either end. */
export const POLICY_VERDICTS = ['denied', 'allowed', 'none', 'unknown'] as const;
export type PolicyVerdict = (typeof POLICY_VERDICTS)[number];
