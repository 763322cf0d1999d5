import type { Failure } from '#api/errors.ts';
import type { SeenEvent } from './event_log.ts';
import { MessageReader } from './sse.ts';

const TOKEN_KEY = 'netsonde-token';
/** Maximum number of events from the last hour to request when the page opens. */
export const BEGIN_WITH = 200;
const ANSWER_MS = 5_000;
/**
 * Time without a message after which the stream counts as broken. The agent sends a message at least every 15 s, even
 * if there is nothing new.
 */
const SILENCE_MS = 40_000;

/** Reason why the agent sent no usable response. */
export type Refusal =
  | { readonly kind: 'unreachable' }
  /** 401: a token is required. */
  | { readonly kind: 'token'; readonly given: boolean }
  /** 403: this address is not allowed. */
  | { readonly kind: 'forbidden'; readonly message: string }
  | { readonly kind: 'failed'; readonly message: string };

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
  throw new RefusedError({ kind: response.status === 403 ? 'forbidden' : 'failed', message });
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

export interface Following {
  /** ID of the last event that was received; empty if there is none. */
  readonly lastId: string;
  readonly signal: AbortSignal;
  readonly opened: () => void;
  readonly take: (events: readonly SeenEvent[]) => void;
}

/**
 * Receives events until the stream ends. Uses fetch instead of EventSource because EventSource cannot send a token.
 * @throws {RefusedError}
 */
export async function followEvents({ lastId, signal, opened, take }: Following): Promise<void> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const headers = { Accept: 'text/event-stream', ...(lastId === '' ? {} : { 'Last-Event-ID': lastId }) };
    const ending = AbortSignal.any([signal, silence.signal]);
    const response = await request(`/api/v1/events?since=1h&last=${BEGIN_WITH}`, headers, ending);
    opened();
    const reader = new MessageReader();
    const chunks = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    for (let chunk = await chunks?.read(); chunk?.done === false; chunk = await chunks?.read()) {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      const events = reader.take(chunk.value).map(({ id, data }) => ({ id, event: JSON.parse(data) }));
      if (events.length > 0) take(events);
    }
  } catch (error) {
    throw error instanceof RefusedError ? error : new RefusedError({ kind: 'unreachable' });
  } finally {
    clearTimeout(timer);
  }
}
