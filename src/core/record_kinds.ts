/** Kinds of records that sinks can receive, as configured in `sinks.<name>.kinds`. */
export const KINDS = ['event'] as const;
export type Kind = (typeof KINDS)[number];

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
