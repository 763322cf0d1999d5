// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.

export const FILE = 'http.bpf.o';

/** Names in the object. Constants are set before the programs run, and settings also while they run. */
export interface Layout {
  readonly constant: 'filters_pods' | 'events_enabled' | 'jiffies_per_second' | 'ring_share' | 'owner_rows' | 'unlisted_rows' | 'keeps_traces' | 'keeps_exemplars' | 'reports_events';
  readonly setting: 'event_rate' | 'reports_records' | 'slow_nanoseconds' | 'record_failed' | 'record_nanoseconds' | 'record_sample' | 'record_rate';
  readonly map: 'http_exemplars' | 'http_exemplars_taken' | 'filtered_netns' | 'l7_connections' | 'l7_kept' | 'l7_again_sent' | 'l7_again_received' | 'owners' | 'event_ledgers' | 'event_buckets' | 'events' | 'misses' | 'rows_taken' | 'rows_returned' | 'request_rows' | 'request_taken' | 'request_returned' | 'request_wanted' | 'http_connections' | 'http_rows' | 'http_record_ledgers' | 'http_record_buckets' | 'http_recent';
  readonly program: 'http1_sent' | 'http1_received' | 'http_closed';
}
