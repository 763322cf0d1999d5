/** Kinds of records that sinks can receive. A configuration names them in `sinks.<name>.kinds`. */
export const KINDS = ['event'] as const;
export type Kind = (typeof KINDS)[number];

/** Fields by which events are looked up in Loki, beside the labels of their stream. */
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
