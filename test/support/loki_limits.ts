import type { LokiEntry } from './loki_server.ts';

// Loki's limits, in its words. Each reference is to a file of github.com/grafana/loki at version 3, unless it says otherwise.

export interface LokiLimits {
  /** `auth_enabled`: a request without a tenant is refused. */
  readonly authEnabled?: boolean;
  /** Bytes of an uncompressed body. */
  readonly maxBodyBytes?: number;
  /** `max_line_size` */
  readonly maxLineSize?: number;
  /** `allow_structured_metadata` */
  readonly allowStructuredMetadata?: boolean;
  /** `max_structured_metadata_entries_count` */
  readonly maxStructuredMetadata?: number;
  /** `max_label_names_per_series` */
  readonly maxLabelNames?: number;
  /** `reject_old_samples_max_age`: entries from before this time, in nanoseconds, are refused. */
  readonly oldest?: string;
  /** `block_ingestion_until`, with its status. */
  readonly blocked?: { readonly status: number; readonly of?: (labels: Labels) => boolean };
  /** `ingestion_rate_mb` and `ingestion_burst_size_mb`, in bytes. */
  readonly ingestion?: Rate;
  /** `per_stream_rate_limit` and its burst, for some streams. */
  readonly perStream?: Rate & { readonly of?: (labels: Labels) => boolean };
  /** `max_global_streams_per_user` */
  readonly maxStreams?: number;
  /** `max_chunk_age`: an entry that is older than the newest of its stream by half of it, in nanoseconds, is too far behind. */
  readonly maxChunkAge?: number;
}

export interface Rate {
  /** Bytes a second. */
  readonly rate: number;
  /** Bytes at once. */
  readonly burst: number;
}

export type Labels = Readonly<Record<string, string>>;

export interface Reply {
  readonly status: number;
  readonly text: string;
}

/** A bucket that takes all or nothing (golang.org/x/time/rate, `AllowN`). */
export class Bucket {
  readonly #rate: Rate;
  #tokens: number;
  #atMs = performance.now();

  constructor(rate: Rate) {
    this.#rate = rate;
    this.#tokens = rate.burst;
  }

  allows(bytes: number): boolean {
    const nowMs = performance.now();
    this.#tokens = Math.min(this.#rate.burst, this.#tokens + ((nowMs - this.#atMs) / 1_000) * this.#rate.rate);
    this.#atMs = nowMs;
    if (bytes > this.#tokens) return false;
    this.#tokens -= bytes;
    return true;
  }
}

/** pkg/util/entry_size.go */
export function entrySize({ line, metadata }: LokiEntry): number {
  const sizes = Object.entries(metadata).map(([name, value]) => name.length + Buffer.byteLength(value));
  return Buffer.byteLength(line) + sizes.reduce((sum, size) => sum + size, 0);
}

/** As Loki writes a stream. */
export function streamName(labels: Labels): string {
  const pairs = Object.keys(labels)
    .sort()
    .map((name) => `${name}=${JSON.stringify(labels[name])}`);
  return `{${pairs.join(', ')}}`;
}

const time = (ns: string) => new Date(Number(ns.slice(0, -6))).toISOString().replace(/\.\d+Z$/, 'Z');

/** dskit's middleware/http_auth.go and user/id.go */
export const NO_ORG_ID: Reply = { status: 401, text: 'no org id' };

/** pkg/validation/validate.go: `RequestBodyTooLargeErrorMsg` */
export const bodyTooLarge = (bytes: number, limit: number): Reply => ({
  status: 413,
  text: `request body too large: ${bytes} bytes, limit: ${limit} bytes`,
});

/** pkg/validation/validate.go: `BlockedIngestionErrorMsg`; pkg/distributor/validator.go: `ShouldBlockIngestion` */
export const blocked = (tenant: string, status: number): Reply => ({
  status,
  text: `ingestion blocked for user ${tenant} until '2030-01-01T00:00:00Z' with status code '${status}'`,
});

/** pkg/validation/validate.go: `RateLimitedErrorMsg`; pkg/distributor/distributor.go: nothing of the request is taken. */
export const rateLimited = (tenant: string, rate: number, lines: number, bytes: number): Reply => ({
  status: 429,
  text: `Ingestion rate limit exceeded for user ${tenant} (limit: ${rate} bytes/sec) while attempting to ingest '${lines}' lines totaling '${bytes}' bytes, reduce log volume or contact your Loki administrator to see if the limit can be increased`,
});

/** pkg/validation/validate.go: `StreamLimitErrorMsg`; pkg/ingester/instance.go: `onStreamCreationError` */
export const tooManyStreams = (tenant: string, labels: Labels): Reply => ({
  status: 429,
  text: `Maximum active stream limit exceeded when trying to create stream ${streamName(labels)}, reduce the number of active streams (reduce labels or reduce label values), or contact your Loki administrator to see if the limit can be increased, user: '${tenant}'`,
});

/** Reasons why entries were left out, with counts: pkg/ingester/stream.go, `errorForFailedEntries`. The last one has the status. */
export function ignored(
  tenant: string,
  labels: Labels,
  failed: readonly { readonly entry: LokiEntry; readonly why: string; readonly status: number }[],
  total: number,
): Reply {
  const lines = failed
    .slice(0, 10)
    .map(({ entry, why }) => `entry with timestamp ${time(entry.time)} ignored, reason: '${why}',\n`);
  const end = `user '${tenant}', total ignored: ${failed.length} out of ${total} for stream: ${streamName(labels)}`;
  return { status: failed.at(-1)?.status ?? 400, text: `${lines.join('')}${end}` };
}

/** pkg/validation/validate.go: `ErrStreamRateLimit` */
export const streamRate = (labels: Labels, { rate }: Rate, bytes: number): string =>
  `Per stream rate limit exceeded (limit: ${rate}B/sec) while attempting to ingest for stream '${streamName(labels)}' totaling ${bytes}B, consider splitting a stream via additional labels or contact your Loki administrator to see if the limit can be increased`;

/** pkg/chunkenc/interface.go: `ErrTooFarBehind` */
export const tooFarBehind = (ns: string, cutoff: string): string =>
  `entry too far behind, entry timestamp is: ${time(ns)}, oldest acceptable timestamp is: ${time(cutoff)}`;

/** Faults of the labels of a stream: pkg/distributor/validator.go, `ValidateLabels`. */
export function faultOfLabels(labels: Labels, { maxLabelNames }: LokiLimits): string | undefined {
  const names = Object.keys(labels).length;
  if (maxLabelNames === undefined || names <= maxLabelNames) return undefined;
  return `entry for stream '${streamName(labels)}' has ${names} label names; limit ${maxLabelNames}`;
}

/** Faults of an entry: pkg/distributor/validator.go, `ValidateEntry`. */
export function faultOfEntry({ labels, time: ns, line, metadata }: LokiEntry, limits: LokiLimits): string | undefined {
  const { oldest, maxLineSize, allowStructuredMetadata = true, maxStructuredMetadata } = limits;
  const stream = streamName(labels);
  const [bytes, names] = [Buffer.byteLength(line), Object.keys(metadata).length];
  if (oldest !== undefined && ns < oldest) {
    return `entry for stream '${stream}' has timestamp too old: ${time(ns)}, oldest acceptable timestamp is: ${time(oldest)}`;
  }
  if (maxLineSize !== undefined && bytes > maxLineSize) {
    return `Max entry size '${maxLineSize}' bytes exceeded for stream '${stream}' while adding an entry with length '${bytes}' bytes`;
  }
  if (names > 0 && !allowStructuredMetadata) {
    return `stream '${stream}' includes structured metadata, but this feature is disallowed. Please see \`limits_config.allow_structured_metadata\` or contact your Loki administrator to enable it.`;
  }
  if (maxStructuredMetadata !== undefined && names > maxStructuredMetadata) {
    return `stream '${stream}' has too many structured metadata labels: '${names}', limit: '${maxStructuredMetadata}'. Please see \`limits_config.max_structured_metadata_entries_count\` or contact your Loki administrator to increase it.`;
  }
  return undefined;
}

/** pkg/util/errors.go, `GroupedErrors`, and its use in pkg/distributor/distributor_test.go: a single error is reported unchanged. */
export function grouped(faults: readonly string[]): string {
  if (faults.length === 1) return faults[0] ?? '';
  const counts = new Map<string, number>();
  for (const fault of faults) counts.set(fault, (counts.get(fault) ?? 0) + 1);
  return [...counts].map(([fault, count]) => `${count} errors like: ${fault}`).join('; ');
}
