import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Files } from '#files/files.ts';
import { sendFailure } from './failure.ts';
import { forwardedBy, type Host, hostOf, isLocalHost, otherSite, pathOf } from './origin.ts';
import { isLocal } from './peer.ts';
import type { RefusalCause, Refusals } from './refusals.ts';
import type { WebAccess } from './web_access.ts';

const TOKEN_LENGTH_MIN = 16;
const TOKEN_LENGTH_MAX = 4_096;
const TOKEN_BYTES_MAX = 64 * 1024;
const BEARER = /^Bearer +(\S+) *$/i;
const API = /^\/api\//i;
const REALM = 'Bearer realm="netsonde"';

/** @throws where the file cannot be read, or holds no acceptable token */
export async function readToken(files: Files, file: string, option = '--api-token-file'): Promise<string> {
  const text = await files.readText(file, TOKEN_BYTES_MAX).catch((error: Error) => {
    throw new Error(`${option}: ${error.message}`);
  });
  const token = text.trim();
  if (token.length >= TOKEN_LENGTH_MIN && token.length <= TOKEN_LENGTH_MAX && /^[\x21-\x7e]+$/.test(token))
    return token;
  throw new Error(
    `${option} ${file}: give ${TOKEN_LENGTH_MIN} to ${TOKEN_LENGTH_MAX} printable characters without spaces`,
  );
}

export interface AccessOptions {
  readonly files: Files;
  readonly tokenFile: string | undefined;
  /** Whether callers by loopback need the token as well: every user of the machine can connect by loopback. */
  readonly socketOnly: boolean;
  readonly refusals: Refusals;
  readonly warn: (message: string) => void;
  /** Access of TCP clients; undefined where there is no web configuration. */
  readonly web: WebAccess | undefined;
}

/** Kind of address that a server listens on. */
export type Transport = 'tcp' | 'unix';

/** Answers, or passes on to `next`. It uses Node.js' own classes, so a route needs no Express. */
export type Handler = (request: IncomingMessage, response: ServerResponse, next: () => void) => void | Promise<void>;

/** Checks of access: `all` for every route, `api` in addition for /api/v1. */
export interface Access {
  readonly all: Handler;
  readonly api: Handler;
}

/**
 * Decides which callers may read what. /api/v1 shows addresses and names of processes: it is for callers by loopback, by the Unix
 * socket, which only its owner may open, and with the token. The token's file is read for each request, so a changed Secret takes
 * effect at once.
 */
export function accessTo(
  transport: Transport,
  { files, tokenFile, socketOnly, refusals, warn, web }: AccessOptions,
): Access {
  const isUnix = transport === 'unix';
  const known = isUnix ? undefined : web;
  const refuse = (response: ServerResponse, cause: RefusalCause, error: string) => {
    refusals.count(cause);
    sendFailure(response, 403, error);
  };
  const elsewhere = socketOnly ? SOCKET_ONLY : NOT_HERE;
  /** Returns the reason why the request does not come from this machine; undefined where it does. */
  const whyAway = ({ headers, socket }: IncomingMessage): string | undefined => {
    if (!isUnix && (socketOnly || !isLocal(socket))) return elsewhere;
    const header = forwardedBy(headers);
    return header && `a proxy asks for another client (${header}): ${WITH_TOKEN}`;
  };
  const hasToken = tokenCheck(files, tokenFile, refusals, warn);
  return {
    all: (request, response, next) => {
      let host: Host | undefined;
      try {
        host = hostOf(request);
      } catch (error) {
        refusals.count('host');
        return sendFailure(response, 400, (error as Error).message);
      }
      const other = otherSite(request.headers, host);
      // A caller with a token presents it where it is asked for.
      const hasBearer =
        tokenFile !== undefined && API.test(pathOf(request)) && BEARER.test(request.headers.authorization ?? '');
      if (other === undefined) {
        if (known === undefined || hasBearer) return next();
        return known.check(request, response, next);
      }
      return refuse(
        response,
        'site',
        `the request comes from a page of another site, which could read the answer: ${other}`,
      );
    },
    api: (request, response, next) => {
      // A user or a certificate of the web configuration has access to everything.
      if (known?.isKnown(request) === true) return next();
      // A token that came instead of a password has to be the right one, also from this machine.
      const away = known?.asksPasswords === true ? elsewhere : whyAway(request);
      if (away !== undefined)
        return tokenFile === undefined ? refuse(response, 'address', away) : hasToken(request, response, next);
      const host = hostOf(request);
      if (isLocalHost(host, isUnix)) return next();
      const names = 'localhost, 127.0.0.1 and [::1]';
      return refuse(response, 'host', `/api/v1 is served under the names ${names}, not ${host?.name}`);
    },
  };
}

const NOT_HERE =
  '/api/v1 is for this machine only: ask by loopback or the Unix socket, or start the agent with --api-token-file';
const SOCKET_ONLY =
  '/api/v1 is for the Unix socket only (--api-socket-only): ask there, or start the agent with --api-token-file';

const WITH_TOKEN = 'start the agent with --api-token-file, and ask with the token';

function tokenCheck(
  files: Files,
  file: string | undefined,
  refusals: Refusals,
  warn: (message: string) => void,
): Handler {
  let told = '';
  /** Returns undefined where it cannot be read: the fault of the file, and its path, are only for the operator of the agent. */
  const current = async (path: string): Promise<string | undefined> => {
    try {
      const token = await readToken(files, path);
      told = '';
      return token;
    } catch (error) {
      const { message } = error as Error;
      if (message !== told) warn(message);
      told = message;
      return undefined;
    }
  };
  const refuse = (response: ServerResponse, status: number, error: string) => {
    refusals.count('token');
    sendFailure(response, status, error);
  };
  return async (request, response, next) => {
    const given = BEARER.exec(request.headers.authorization ?? '')?.[1];
    if (given === undefined || file === undefined) {
      response.setHeader('WWW-Authenticate', REALM);
      refuse(response, 401, 'a bearer token is needed');
      return;
    }
    const token = await current(file);
    if (token === undefined) refuse(response, 503, 'the token of the agent cannot be read; its log says why');
    else if (isSame(given, token)) next();
    else {
      response.setHeader('WWW-Authenticate', `${REALM}, error="invalid_token"`);
      refuse(response, 401, 'the bearer token is wrong');
    }
  };
}

/** Compares in the same time wherever the texts differ, and whatever their lengths are. */
function isSame(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
