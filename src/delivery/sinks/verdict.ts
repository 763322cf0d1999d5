import type { Answer } from './http.ts';
import { inert } from './inert.ts';

/** Meaning of an answer for the records of its request. */
export type Verdict =
  /** Set for a server that says how many of the records that it took it refused after all, but not which. */
  | { readonly is: 'taken'; readonly refused?: { readonly count: number; readonly why: string } | undefined }
  /** Something in the request is at fault. */
  | { readonly is: 'refused'; readonly why: string }
  /** The request is too large. */
  | { readonly is: 'too large'; readonly why: string }
  | NotNow;

/** The content of the request is not at fault: credentials, URL, time or rate are. */
export interface NotNow {
  readonly is: 'not now';
  readonly why: string;
  /** Milliseconds. */
  readonly retryAfterMs: number;
  /** Others may be taken: it is about the stream of these records. */
  readonly ofStream: boolean;
  /** A smaller request may be taken. */
  readonly isTooMuch: boolean;
}

/** Statuses for which the content of the request is not at fault, and what to do about them. */
const REMEDIES: ReadonlyMap<number, string> = new Map([
  [401, 'it asks for credentials: give basicAuth or bearerTokenFile, and tenant for Loki'],
  [402, ''],
  [403, 'it denies access with these credentials: look at the rights of the user, the token or the tenant'],
  [404, 'nothing is there: is url right? The path of the API is added to it'],
  [405, 'something other than the API is there: is url right? The path of the API is added to it'],
  [406, ''],
  [407, 'the proxy asks for credentials: give proxy.basicAuth'],
  [408, 'the request took too long: try a smaller batch.bytes'],
  [409, ''],
  [410, 'nothing is there any more: is url right?'],
  [421, 'it is not the server for this name: is url right?'],
  [425, ''],
  [426, 'it requires another protocol: is https:// right?'],
]);

/** Answer of a server in Go, nginx, … that speaks TLS and was asked by http://. */
const IS_TLS = /HTTP request (?:was sent )?to (?:an )?HTTPS (?:server|port)/i;
const TOO_LARGE = /request body too large|message larger than max/i;

/** Meaning of an unsuccessful answer that is the same for every server. */
export function judgeFailure(answer: Answer, url: URL): Verdict {
  const { status, text } = answer;
  if (status >= 300 && status < 400) return judgeRedirect(answer);
  if (status === 413 || TOO_LARGE.test(text)) return { is: 'too large', why: said(answer) };
  if (status === 429) return { ...notNow(answer, ''), isTooMuch: true };
  if (status < 400) return notNow(answer, '');
  if (status >= 500) return notNow(answer, 'its log has why');
  if (IS_TLS.test(text)) return notNow(answer, 'it speaks TLS: give url with https://');
  const remedy = REMEDIES.get(status);
  if (remedy === undefined) return { is: 'refused', why: said(answer) };
  return notNow(answer, status === 404 ? `${remedy}: ${url.origin}${url.pathname} was asked` : remedy);
}

function judgeRedirect(answer: Answer): Verdict {
  const place = inert(answer.location);
  const where = place === '' ? 'elsewhere, without saying where' : `to ${place}: give that as url if it is right`;
  return notNow({ ...answer, text: '' }, `it redirects us ${where}`);
}

/** A success that does not come from the server but from something in front of it. */
export function judgeStranger(answer: Answer, expected: string): Verdict {
  const page = answer.contentType === 'text/html' ? ', with a page: a login, or a proxy, stands in front of it' : '';
  return notNow({ ...answer, text: '' }, `${expected}${page}. Is url right?`);
}

export function notNow(answer: Answer, remedy: string): NotNow {
  const why = [said(answer), remedy].filter((text) => text !== '').join('; ');
  return { is: 'not now', why, retryAfterMs: answer.retryAfterMs, ofStream: false, isTooMuch: false };
}

/** Returns the status and the first line of the text, or the title of a page. */
export function said({ status, text, contentType }: Answer): string {
  const [, title] = (contentType === 'text/html' && /<title[^>]*>([^<]*)/i.exec(text)) || [];
  const line = inert((title ?? text).split('\n', 1)[0] ?? '');
  return `it answers ${status}${line === '' ? '' : `: ${line}`}`;
}
