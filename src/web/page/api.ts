import type { Failure } from '#api/errors.ts';
import { MessageReader } from './sse.ts';

const TOKEN_KEY = 'netsonde-token';
/**
 * Maximum number of events from the last hour to request when the page opens: all that an agent keeps by default. A
 * smaller number would select the newest events, so a noisy Pod would displace the events of others.
 */
const BEGIN_WITH = 1_000;
const ANSWER_MS = 5_000;
/**
 * Time without a message after which the stream is considered broken. The agent sends a message at least every 15 s,
 * even if there is nothing new.
 */
const SILENCE_MS = 40_000;

/** Reason why the agent sent no usable response. */
export type Refusal =
  | { readonly kind: 'unreachable' }
  /** 401: a token is required. */
  | { readonly kind: 'token'; readonly given: boolean }
  /** 403: this address is not allowed. */
  | { readonly kind: 'forbidden'; readonly message: string }
  | { readonly kind: 'failed'; readonly status: number; readonly message: string };

export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.kind);
    this.refusal = refusal;
  }
}

/** Stores the token only in this browser tab, and only as long as the tab is open. */
export function keepToken(token: string): void {
  sessionStorage.setItem(TOKEN_KEY, token);
}

async function request(path: string, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
  const token = sessionStorage.getItem(TOKEN_KEY);
  let response: Response;
  try {
    response = await fetch(path, {
      headers: token === null ? headers : { ...headers, Authorization: `Bearer ${token}` },
      signal,
      cache: 'no-store',
    });
  } catch {
    throw new RefusedError({ kind: 'unreachable' });
  }
  if (response.ok) return response;
  if (response.status === 401) throw new RefusedError({ kind: 'token', given: token !== null });
  const message = await errorOf(response);
  if (response.status === 403) throw new RefusedError({ kind: 'forbidden', message });
  throw new RefusedError({ kind: 'failed', status: response.status, message });
}

async function errorOf(response: Response): Promise<string> {
  try {
    return ((await response.json()) as Failure).error;
  } catch {
    return `the agent responds with status ${response.status}`;
  }
}

/** @throws {RefusedError} */
export async function getJson<T>(path: string): Promise<T> {
  const response = await request(path, {}, AbortSignal.timeout(ANSWER_MS));
  try {
    return (await response.json()) as T;
  } catch {
    throw new RefusedError({ kind: 'unreachable' });
  }
}

export interface Following<T> {
  /** Path of the stream, with its query. */
  readonly path: string;
  /** ID of the last record that was received; empty if there is none. */
  readonly lastId: string;
  readonly signal: AbortSignal;
  readonly opened: () => void;
  readonly take: (records: readonly { readonly id: string; readonly value: T }[]) => void;
}

/**
 * Receives records until the stream ends. Uses fetch instead of EventSource because EventSource cannot send a token.
 * @throws {RefusedError}
 */
export async function followStream<T>({ path, lastId, signal, opened, take }: Following<T>): Promise<void> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const headers = { Accept: 'text/event-stream', ...(lastId === '' ? {} : { 'Last-Event-ID': lastId }) };
    const response = await request(path, headers, AbortSignal.any([signal, silence.signal]));
    opened();
    const reader = new MessageReader();
    const chunks = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    for (let chunk = await chunks?.read(); chunk?.done === false; chunk = await chunks?.read()) {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      const records = reader.take(chunk.value).map(({ id, data }) => ({ id, value: JSON.parse(data) as T }));
      if (records.length > 0) take(records);
    }
  } catch (error) {
    throw error instanceof RefusedError ? error : new RefusedError({ kind: 'unreachable' });
  } finally {
    clearTimeout(timer);
  }
}

/** Returns the path of the event stream. */
export function eventsPath(): string {
  return `/api/v1/events?since=1h&last=${BEGIN_WITH}`;
}
