/** Kinds of records that sinks can receive, as configured in `sinks.<name>.kinds`. */
export const KINDS = ['event', 'flow'] as const;
export type Kind = (typeof KINDS)[number];

/** Descriptions of the record kinds for the documentation. */
export const KIND_SUBJECTS: Readonly<Record<Kind, string>> = {
  event: 'an anomaly',
  flow: 'a TCP connection that has ended',
};

/** Event fields that are sent to Loki as structured metadata, in addition to the labels of the stream. */
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

/** Flow fields that are sent to Loki as structured metadata. */
export const FLOW_METADATA = ['pod', 'netns', 'severity', 'src', 'dst', 'role', 'end', 'cause'] as const;
export type FlowMetadata = (typeof FLOW_METADATA)[number];
