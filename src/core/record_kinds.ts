/** Kinds of records that sinks can receive, as configured in `sinks.<name>.kinds`. */
export const KINDS = ['event', 'flow'] as const;
export type Kind = (typeof KINDS)[number];

/** Descriptions of the kinds, for documents. */
export const KIND_SUBJECTS: Readonly<Record<Kind, string>> = {
  event: 'an anomaly',
  flow: 'a TCP connection that has ended',
};

/** Fields of events that Loki gets as structured metadata, besides the labels of the stream. */
export const EVENT_METADATA = [
  'pod',
  'netns',
  'severity',
  'src',
  'dst',
  'protocol',
  'peer_kind',
  'peer_namespace',
  'peer_name',
  'peer_ip',
] as const;
export type EventMetadata = (typeof EVENT_METADATA)[number];

/** Fields of flows that Loki gets as structured metadata. */
export const FLOW_METADATA = ['pod', 'netns', 'severity', 'src', 'dst', 'role', 'end', 'cause'] as const;
export type FlowMetadata = (typeof FLOW_METADATA)[number];
