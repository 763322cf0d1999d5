import type { Readable } from 'node:stream';
import { oneLine } from './api_values.ts';

export interface ApiRequest {
  readonly method: 'GET' | 'POST';
  /** `/api/v1/pods`, with its query. */
  readonly path: string;
  /** Media type that is requested, in place of whole objects as JSON. */
  readonly accept?: string;
  readonly body?: unknown;
  readonly signal: AbortSignal;
}

export interface ApiResponse {
  readonly status: number;
  /** Seconds that the server asks to wait, where it does. */
  readonly retryAfter: number | undefined;
  /** Decompressed body. The caller reads it to its end, or destroys it. */
  readonly body: Readable;
}

/**
 * Connection to a Kubernetes API server: its address, and our credentials. Disposing it ends what runs for it alone: a command that gets a
 * token.
 */
export interface ApiSession extends Disposable {
  /** Address of the server, for the log. */
  readonly server: string;
  /** @throws where there is no answer */
  request(request: ApiRequest): Promise<ApiResponse>;
  /** Reads configuration, certificates and token again for the next request. */
  renew(): void;
}

/** An answer other than the requested one. */
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

/** No request was sent, for want of a credential. */
export class CredentialError extends Error {
  override readonly name = 'CredentialError';
}

const STATUS_BYTES_MAX = 64 * 1024;
const RETRY_AFTER_SECONDS_MAX = 60;

/** Returns the error that an answer stands for, by the Status object in its body (where there is one). */
export async function errorOf({ status, retryAfter = 0, body }: ApiResponse): Promise<ApiError> {
  let text = '';
  try {
    for await (const chunk of body) {
      text += String(chunk);
      if (text.length > STATUS_BYTES_MAX) break;
    }
  } catch {
    // The status code is enough.
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

/** Returns a path like `/api/v1/pods?limit=500`; undefined parameters are left out. */
export function withQuery(path: string, query: Readonly<Record<string, string | number | undefined>>): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) params.set(name, String(value));
  return params.size === 0 ? path : `${path}?${params}`;
}
