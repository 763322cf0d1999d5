import type { Answer } from './http.ts';
import { inert } from './inert.ts';

/** What an answer means for the records of its request. */
export type Verdict =
  /** Of a server that tells how many records of those that it has taken it has refused after all, but not which. */
  | { readonly is: 'taken'; readonly refused?: { readonly count: number; readonly why: string } | undefined }
  /** Something in what was sent is at fault. */
  | { readonly is: 'refused'; readonly why: string }
  /** It is too much for one request. */
  | { readonly is: 'too large'; readonly why: string }
  | NotNow;

/** Not the fault of what was sent: who we are, where we sent it to, when, or how fast. */
export interface NotNow {
  readonly is: 'not now';
  readonly why: string;
  /** Milliseconds. */
  readonly retryAfterMs: number;
  /** Others may be taken: it is about the stream of these records. */
  readonly ofStream: boolean;
  /** Less at once may be taken. */
  readonly isTooMuch: boolean;
}

/** Statuses that are not the fault of what was sent, and what to do about them. */
const REMEDIES: ReadonlyMap<number, string> = new Map([
  [401, 'it wants to know who we are: basicAuth or bearerTokenFile, and for Loki tenant'],
  [402, ''],
  [403, 'it knows us and does not let us in: look at the rights of the user, the token or the tenant'],
  [404, 'nothing is there: is url right? The path of the API is added to it'],
  [405, 'something else than the API is there: is url right? The path of the API is added to it'],
  [406, ''],
  [407, 'the proxy wants to know who we are: proxy.basicAuth'],
  [408, 'it waited for too long: batch.bytes may be smaller'],
  [409, ''],
  [410, 'nothing is there any more: is url right?'],
  [421, 'it is not the server for this name: is url right?'],
  [425, ''],
  [426, 'it wants another protocol: is https:// right?'],
]);

/** Of a server in Go, nginx, … that is asked by http://. */
const IS_TLS = /HTTP request (?:was sent )?to (?:an )?HTTPS (?:server|port)/i;
const TOO_LARGE = /request body too large|message larger than max/i;

/** What every server means by an answer that is no success. */
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
  const where =
    place === '' ? 'elsewhere, and not where' : `to ${place}: give that place as url, if it is the right one`;
  return notNow({ ...answer, text: '' }, `it sends us ${where}`);
}

/** A success that is none: of something in front of the server. */
export function judgeStranger(answer: Answer, expected: string): Verdict {
  const page = answer.contentType === 'text/html' ? ', with a page: a login, or a proxy, stands in front of it' : '';
  return notNow({ ...answer, text: '' }, `${expected}${page}. Is url right?`);
}

export function notNow(answer: Answer, remedy: string): NotNow {
  const why = [said(answer), remedy].filter((text) => text !== '').join('; ');
  return { is: 'not now', why, retryAfterMs: answer.retryAfterMs, ofStream: false, isTooMuch: false };
}

/** The status, and the first line of its text; of a page the title. */
export function said({ status, text, contentType }: Answer): string {
  const [, title] = (contentType === 'text/html' && /<title[^>]*>([^<]*)/i.exec(text)) || [];
  const line = inert((title ?? text).split('\n', 1)[0] ?? '');
  return `it answers ${status}${line === '' ? '' : `: ${line}`}`;
}
