/** Kinds of records that sinks can receive, as configured in `sinks.<name>.kinds`. */
export const KINDS = ['event', 'flow', 'incident', 'request'] as const;
export type Kind = (typeof KINDS)[number];

/** Descriptions of the record kinds for the documentation. */
export const KIND_SUBJECTS: Readonly<Record<Kind, string>> = {
  event: 'an anomaly',
  flow: 'a TCP connection that has ended',
  incident: 'several events with the same cause',
  request: 'an HTTP request',
};

/** Event fields that are sent to Loki as structured metadata, in addition to the labels of the stream. */
export const EVENT_METADATA = [
  'pod',
  'netns',
  'severity',
  'src',
  'dst',
  'protocol',
  'connectionId',
  'traceId',
  'peer_kind',
  'peer_namespace',
  'peer_name',
  'peer_workload',
  'peer_service',
  'peer_ip',
] as const;
export type EventMetadata = (typeof EVENT_METADATA)[number];

/** Flow fields that are sent to Loki as structured metadata. */
export const FLOW_METADATA = [
  'pod',
  'netns',
  'severity',
  'src',
  'dst',
  'role',
  'end',
  'cause',
  'peer_kind',
  'peer_namespace',
  'peer_name',
  'peer_workload',
  'peer_service',
] as const;
export type FlowMetadata = (typeof FLOW_METADATA)[number];

/** Fields of incidents that are sent to Loki as structured metadata. */
export const INCIDENT_METADATA = [
  'pod',
  'severity',
  'src',
  'dst',
  'protocol',
  'connectionId',
  'cause',
  'state',
  'client_namespace',
  'client_name',
  'server_namespace',
  'server_name',
] as const;
export type IncidentMetadata = (typeof INCIDENT_METADATA)[number];

/** Fields of requests that are sent to Loki as structured metadata. */
export const REQUEST_METADATA = [
  'pod',
  'netns',
  'severity',
  'src',
  'dst',
  'role',
  'method',
  'path',
  'status',
  'traceId',
  'peer_kind',
  'peer_namespace',
  'peer_name',
  'peer_workload',
  'peer_service',
] as const;
export type RequestMetadata = (typeof REQUEST_METADATA)[number];
