import type { LokiEntry } from './loki_server.ts';

// Loki's limits and error messages. Unless another repository is named, references are to files of
// github.com/grafana/loki at version 3.

export interface LokiLimits {
  /** `auth_enabled`: requests without a tenant are refused. */
  readonly authEnabled?: boolean;
  /** Maximum size of an uncompressed request body in bytes. */
  readonly maxBodyBytes?: number;
  /** `max_line_size` */
  readonly maxLineSize?: number;
  /** `allow_structured_metadata` */
  readonly allowStructuredMetadata?: boolean;
  /** `max_structured_metadata_entries_count` */
  readonly maxStructuredMetadata?: number;
  /** `max_label_names_per_series` */
  readonly maxLabelNames?: number;
  /** `reject_old_samples_max_age`: entries older than this time, in nanoseconds, are refused. */
  readonly oldest?: string;
  /** `block_ingestion_until`, with the status code of the response. */
  readonly blocked?: { readonly status: number; readonly of?: (labels: Labels) => boolean };
  /** `ingestion_rate_mb` and `ingestion_burst_size_mb`, in bytes. */
  readonly ingestion?: Rate;
  /** `per_stream_rate_limit` and its burst, for the streams that `of` selects. */
  readonly perStream?: Rate & { readonly of?: (labels: Labels) => boolean };
  /** `max_global_streams_per_user` */
  readonly maxStreams?: number;
  /**
   * `max_chunk_age` in nanoseconds. An entry is refused as too far behind if it is more than half of this time older
   * than the newest entry of its stream.
   */
  readonly maxChunkAge?: number;
}

export interface Rate {
  /** Bytes per second. */
  readonly rate: number;
  /** Maximum number of bytes in a burst. */
  readonly burst: number;
}

export type Labels = Readonly<Record<string, string>>;

export interface Reply {
  readonly status: number;
  readonly text: string;
}

/** A token bucket that accepts a request completely or not at all (golang.org/x/time/rate, `AllowN`). */
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

/** Returns the size of an entry as Loki counts it (pkg/util/entry_size.go). */
export function entrySize({ line, metadata }: LokiEntry): number {
  const sizes = Object.entries(metadata).map(([name, value]) => name.length + Buffer.byteLength(value));
  return Buffer.byteLength(line) + sizes.reduce((sum, size) => sum + size, 0);
}

/** Renders the labels of a stream as Loki does. */
export function streamName(labels: Labels): string {
  const pairs = Object.keys(labels)
    .sort()
    .map((name) => `${name}=${JSON.stringify(labels[name])}`);
  return `{${pairs.join(', ')}}`;
}

const time = (ns: string) => new Date(Number(ns.slice(0, -6))).toISOString().replace(/\.\d+Z$/, 'Z');

/** From dskit: middleware/http_auth.go and user/id.go. */
export const NO_ORG_ID: Reply = { status: 401, text: 'no org id' };

/** From pkg/validation/validate.go, `RequestBodyTooLargeErrorMsg`. */
export const bodyTooLarge = (bytes: number, limit: number): Reply => ({
  status: 413,
  text: `request body too large: ${bytes} bytes, limit: ${limit} bytes`,
});

/**
 * From pkg/validation/validate.go, `BlockedIngestionErrorMsg`, and pkg/distributor/validator.go,
 * `ShouldBlockIngestion`.
 */
export const blocked = (tenant: string, status: number): Reply => ({
  status,
  text: `ingestion blocked for user ${tenant} until '2030-01-01T00:00:00Z' with status code '${status}'`,
});

/**
 * From pkg/validation/validate.go, `RateLimitedErrorMsg`. The distributor refuses the whole request
 * (pkg/distributor/distributor.go).
 */
export const rateLimited = (tenant: string, rate: number, lines: number, bytes: number): Reply => ({
  status: 429,
  text: `Ingestion rate limit exceeded for user ${tenant} (limit: ${rate} bytes/sec) while attempting to ingest '${lines}' lines totaling '${bytes}' bytes, reduce log volume or contact your Loki administrator to see if the limit can be increased`,
});

/** From pkg/validation/validate.go, `StreamLimitErrorMsg`, and pkg/ingester/instance.go, `onStreamCreationError`. */
export const tooManyStreams = (tenant: string, labels: Labels): Reply => ({
  status: 429,
  text: `Maximum active stream limit exceeded when trying to create stream ${streamName(labels)}, reduce the number of active streams (reduce labels or reduce label values), or contact your Loki administrator to see if the limit can be increased, user: '${tenant}'`,
});

/**
 * Renders the reasons and counts of refused entries (pkg/ingester/stream.go, `errorForFailedEntries`). The status code
 * is that of the last entry.
 */
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

/** From pkg/validation/validate.go, `ErrStreamRateLimit`. */
export const streamRate = (labels: Labels, { rate }: Rate, bytes: number): string =>
  `Per stream rate limit exceeded (limit: ${rate}B/sec) while attempting to ingest for stream '${streamName(labels)}' totaling ${bytes}B, consider splitting a stream via additional labels or contact your Loki administrator to see if the limit can be increased`;

/** From pkg/chunkenc/interface.go, `ErrTooFarBehind`. */
export const tooFarBehind = (ns: string, cutoff: string): string =>
  `entry too far behind, entry timestamp is: ${time(ns)}, oldest acceptable timestamp is: ${time(cutoff)}`;

/** Returns the error in a stream's labels (pkg/distributor/validator.go, `ValidateLabels`). */
export function faultOfLabels(labels: Labels, { maxLabelNames }: LokiLimits): string | undefined {
  const names = Object.keys(labels).length;
  if (maxLabelNames === undefined || names <= maxLabelNames) return undefined;
  return `entry for stream '${streamName(labels)}' has ${names} label names; limit ${maxLabelNames}`;
}

/** Returns the error in an entry (pkg/distributor/validator.go, `ValidateEntry`). */
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

/**
 * Groups errors as in pkg/util/errors.go, `GroupedErrors`. A single error is returned unchanged (see
 * pkg/distributor/distributor_test.go).
 */
export function grouped(faults: readonly string[]): string {
  if (faults.length === 1) return faults[0] ?? '';
  const counts = new Map<string, number>();
  for (const fault of faults) counts.set(fault, (counts.get(fault) ?? 0) + 1);
  return [...counts].map(([fault, count]) => `${count} errors like: ${fault}`).join('; ');
}
