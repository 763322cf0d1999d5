import type { Readable } from 'node:stream';
import { oneLine } from './api_values.ts';

export interface ApiRequest {
  readonly method: 'GET' | 'POST';
  /** `/api/v1/pods`, with its query. */
  readonly path: string;
  /** In place of whole objects as JSON. */
  readonly accept?: string;
  readonly body?: unknown;
  readonly signal: AbortSignal;
}

export interface ApiResponse {
  readonly status: number;
  /** Seconds that the server asks to wait, where it does. */
  readonly retryAfter: number | undefined;
  /** Decompressed. To be read to its end, or destroyed. */
  readonly body: Readable;
}

/** A way to a Kubernetes API server: where it is, and who we are. Disposing it ends what runs for it alone: a command that gets a token. */
export interface ApiSession extends Disposable {
  /** Where it is, for the log. */
  readonly server: string;
  /** @throws where there is no answer */
  request(request: ApiRequest): Promise<ApiResponse>;
  /** Reads configuration, certificates and token anew for the next request. */
  renew(): void;
}

/** An answer that is not what was asked for. */
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

/** Nothing was asked, for want of a credential. */
export class CredentialError extends Error {
  override readonly name = 'CredentialError';
}

const STATUS_BYTES_MAX = 64 * 1024;
const RETRY_AFTER_SECONDS_MAX = 60;

/** The error that an answer is, by the Status object in its body (where there is one). */
export async function errorOf({ status, retryAfter = 0, body }: ApiResponse): Promise<ApiError> {
  let text = '';
  try {
    for await (const chunk of body) {
      text += String(chunk);
      if (text.length > STATUS_BYTES_MAX) break;
    }
  } catch {
    // The status code says enough.
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

/** `/api/v1/pods?limit=500`; what is undefined is left out. */
export function withQuery(path: string, query: Readonly<Record<string, string | number | undefined>>): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) params.set(name, String(value));
  return params.size === 0 ? path : `${path}?${params}`;
}
