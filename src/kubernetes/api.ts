import type { Readable } from 'node:stream';
import { oneLine } from './api_values.ts';

export interface ApiRequest {
  readonly method: 'GET' | 'POST';
  /** Path with query, such as `/api/v1/pods?limit=500`. */
  readonly path: string;
  /** Media type to request; `application/json` by default. */
  readonly accept?: string;
  readonly body?: unknown;
  readonly signal: AbortSignal;
}

export interface ApiResponse {
  readonly status: number;
  /** Number of seconds in the server's Retry-After header; undefined without one. */
  readonly retryAfter: number | undefined;
  /** Decompressed body. The caller has to read it to the end or destroy it. */
  readonly body: Readable;
}

/**
 * A connection to a Kubernetes API server, with credentials. Disposing of it kills any command that is fetching a
 * credential.
 */
export interface ApiSession extends Disposable {
  /** URL of the server, for the log. */
  readonly server: string;
  /** Sends a request. @throws if there is no response */
  request(request: ApiRequest): Promise<ApiResponse>;
  /** Makes the next request reread the configuration, the certificates and the token. */
  renew(): void;
}

/** An error response of the server. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly retryAfterMs: number;

  constructor(status: number, message: string, retryAfterMs = 0) {
    super(message);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Thrown if a request could not be sent because no credential was available. */
export class CredentialError extends Error {
  override readonly name = 'CredentialError';
}

const STATUS_BYTES_MAX = 64 * 1024;
const RETRY_AFTER_SECONDS_MAX = 60;

/** Converts an error response to an error. The message comes from the Status object in the body, if there is one. */
export async function errorOf({ status, retryAfter = 0, body }: ApiResponse): Promise<ApiError> {
  let text = '';
  try {
    for await (const chunk of body) {
      text += String(chunk);
      if (text.length > STATUS_BYTES_MAX) break;
    }
  } catch {
    // If reading the body fails, the error is built from the status code and the part of the body that was received.
  }
  const retryAfterMs = Math.min(retryAfter, RETRY_AFTER_SECONDS_MAX) * 1000;
  return new ApiError(status, `${status} ${messageOf(text)}`.trimEnd(), retryAfterMs);
}

function messageOf(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === 'string' ? oneLine(message) : '';
  } catch {
    return oneLine(text);
  }
}

/** Returns a path with a query, such as `/api/v1/pods?limit=500`. Undefined parameters are omitted. */
export function withQuery(path: string, query: Readonly<Record<string, string | number | undefined>>): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) params.set(name, String(value));
  return params.size === 0 ? path : `${path}?${params}`;
}
