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

/**
 * Reads the API token.
 * @throws if the file cannot be read or does not contain a valid token
 */
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
  /** Whether loopback clients need the token as well, because every user of the machine can connect from loopback. */
  readonly socketOnly: boolean;
  readonly refusals: Refusals;
  readonly warn: (message: string) => void;
  /** Access rules for TCP clients; undefined without a web configuration. */
  readonly web: WebAccess | undefined;
}

/** Kind of address that a server listens on. */
export type Transport = 'tcp' | 'unix';

/**
 * Request handler that either sends a response or calls `next`. It takes Node.js types, so a route does not depend on
 * Express.
 */
export type Handler = (request: IncomingMessage, response: ServerResponse, next: () => void) => void | Promise<void>;

/** Access checks: `all` runs for every route, and `api` also runs for /api/v1. */
export interface Access {
  readonly all: Handler;
  readonly api: Handler;
}

/**
 * Decides which clients may read which routes. /api/v1 shows addresses and process names, so access is limited to
 * loopback clients, clients of the Unix socket (which only its owner may open), and clients with the token. The token
 * file is read for each request, so a changed Secret takes effect at once.
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
  /** Returns why the request may come from another machine; undefined if it comes from this machine. */
  const whyAway = ({ headers, socket }: IncomingMessage): string | undefined => {
    if (!isUnix && (socketOnly || !isLocal(socket))) return elsewhere;
    const header = forwardedBy(headers);
    return header && `a proxy forwards the request of another client (${header}); ${WITH_TOKEN}`;
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
      // A request with a bearer token is checked by `api`, which verifies the token.
      const hasBearer =
        tokenFile !== undefined && API.test(pathOf(request)) && BEARER.test(request.headers.authorization ?? '');
      if (other === undefined) {
        if (known === undefined || hasBearer) return next();
        return known.check(request, response, next);
      }
      return refuse(
        response,
        'site',
        `the request comes from a page of another site, which could read the response: ${other}`,
      );
    },
    api: (request, response, next) => {
      // A valid password or client certificate from the web configuration grants access to everything.
      if (known?.isKnown(request) === true) return next();
      // If passwords are configured, a client that sends none needs the token even on this machine.
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
  '/api/v1 is for this machine only; connect over loopback or the Unix socket, or start the agent with --api-token-file';
const SOCKET_ONLY =
  '/api/v1 is for the Unix socket only (--api-socket-only); connect there, or start the agent with --api-token-file';

const WITH_TOKEN = 'start the agent with --api-token-file, and send the token';

function tokenCheck(
  files: Files,
  file: string | undefined,
  refusals: Refusals,
  warn: (message: string) => void,
): Handler {
  let told = '';
  /**
   * Returns the token; undefined if it cannot be read. The error goes to the log, because clients must not see the
   * path.
   */
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
      refuse(response, 401, 'a bearer token is required');
      return;
    }
    const token = await current(file);
    if (token === undefined) refuse(response, 503, 'the agent cannot read its token file; its log has the reason');
    else if (isSame(given, token)) next();
    else {
      response.setHeader('WWW-Authenticate', `${REALM}, error="invalid_token"`);
      refuse(response, 401, 'the bearer token is wrong');
    }
  };
}

/** Compares two texts in constant time. Comparing their digests also hides their lengths. */
function isSame(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
