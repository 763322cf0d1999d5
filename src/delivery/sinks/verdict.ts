import type { Answer } from './http.ts';
import { inert } from './inert.ts';

/** Outcome for the records of a request, according to the response. */
export type Verdict =
  /** `refused` is set if the server rejected some of the records, without saying which. */
  | { readonly is: 'taken'; readonly refused?: { readonly count: number; readonly why: string } | undefined }
  /** At least one record in the request is invalid. */
  | { readonly is: 'refused'; readonly why: string }
  /** The request is too large. */
  | { readonly is: 'too large'; readonly why: string }
  | NotNow;

/** The records may be accepted later: the cause is a credential, the URL, the server or a rate limit. */
export interface NotNow {
  readonly is: 'not now';
  readonly why: string;
  /** Milliseconds that the server asked the agent to wait; 0 if it did not. */
  readonly retryAfterMs: number;
  /** The response concerns only this stream; other streams may be accepted. */
  readonly ofStream: boolean;
  /** A smaller request may be accepted. */
  readonly isTooMuch: boolean;
}

/** Statuses that are not caused by the records, and what to do about them. */
const REMEDIES: ReadonlyMap<number, string> = new Map([
  [401, 'it requires credentials: set basicAuth or bearerTokenFile, and tenant for Loki'],
  [402, ''],
  [403, 'it denies access: check the permissions of the user, the token or the tenant'],
  [404, 'check url, to which the path of the API is added'],
  [405, 'this is not the API: check url, to which the path of the API is added'],
  [406, ''],
  [407, 'the proxy requires credentials: set proxy.basicAuth'],
  [408, 'the request took too long: try a smaller batch.bytes'],
  [409, ''],
  [410, 'nothing is there any more: check url'],
  [421, 'it is not the server for this name: check url'],
  [425, ''],
  [426, 'it requires another protocol: check https:// in url'],
]);

/** Responses of TLS servers (Go, nginx) to an http:// request. */
const IS_TLS = /HTTP request (?:was sent )?to (?:an )?HTTPS (?:server|port)/i;
const TOO_LARGE = /request body too large|message larger than max/i;

/** Interprets an error response by rules that apply to all servers. */
export function judgeFailure(answer: Answer, url: URL): Verdict {
  const { status, text } = answer;
  if (status >= 300 && status < 400) return judgeRedirect(answer);
  if (status === 413 || TOO_LARGE.test(text)) return { is: 'too large', why: said(answer) };
  if (status === 429) return { ...notNow(answer, ''), isTooMuch: true };
  if (status < 400) return notNow(answer, '');
  if (status >= 500) return notNow(answer, 'check its log');
  if (IS_TLS.test(text)) return notNow(answer, 'it speaks TLS: use https:// in url');
  const remedy = REMEDIES.get(status);
  if (remedy === undefined) return { is: 'refused', why: said(answer) };
  return notNow(answer, status === 404 ? `${remedy} (${url.origin}${url.pathname})` : remedy);
}

function judgeRedirect(answer: Answer): Verdict {
  const place = inert(answer.location);
  const where = place === '' ? 'without a location' : `to ${place}: use that as url if it is right`;
  return notNow({ ...answer, text: '' }, `it redirects ${where}`);
}

/** Handles a successful response that cannot be from the expected server, such as a login page. */
export function judgeStranger(answer: Answer, expected: string): Verdict {
  const page =
    answer.contentType === 'text/html' ? ', but this is a web page, such as a login or an error of a proxy' : '';
  return notNow({ ...answer, text: '' }, `${expected}${page}; check url`);
}

export function notNow(answer: Answer, remedy: string): NotNow {
  const why = [said(answer), remedy].filter((text) => text !== '').join('; ');
  return { is: 'not now', why, retryAfterMs: answer.retryAfterMs, ofStream: false, isTooMuch: false };
}

/** Returns the status, with the first line of the body or the title of a page. */
export function said({ status, text, contentType }: Answer): string {
  const [, title] = (contentType === 'text/html' && /<title[^>]*>([^<]*)/i.exec(text)) || [];
  const line = inert((title ?? text).split('\n', 1)[0] ?? '');
  return `it returned ${status}${line === '' ? '' : `: ${line}`}`;
}
