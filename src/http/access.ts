import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import type { RequestHandler } from 'express';

const TOKEN_LENGTH_MIN = 16;
const TOKEN_LENGTH_MAX = 4_096;

/** @throws where the file cannot be read, or holds no token that is worth the name */
export async function readToken(file: string, option = '--api-token-file'): Promise<string> {
  const token = (await readFile(file, 'utf8')).trim();
  if (token.length >= TOKEN_LENGTH_MIN && token.length <= TOKEN_LENGTH_MAX && /^[\x21-\x7e]+$/.test(token))
    return token;
  throw new Error(
    `${option} ${file}: give ${TOKEN_LENGTH_MIN} to ${TOKEN_LENGTH_MAX} printable characters without spaces`,
  );
}

/**
 * Who may read /api/v1/*, which shows addresses and names of processes, by TCP: who asks by loopback, and who has the token.
 * The file is read for each request: a Secret that is changed takes effect at once.
 */
export function apiAccess(tokenFile: string | undefined): RequestHandler {
  return async (request, response, next) => {
    if (isLocal(request.socket)) {
      if (isLocalName(request.hostname)) next();
      else {
        response.status(403).json({
          error: `by loopback /api/v1 goes by the names localhost, 127.0.0.1 and [::1], not ${request.hostname}`,
        });
      }
      return;
    }
    if (tokenFile === undefined) {
      response.status(403).json({
        error:
          '/api/v1 is for this machine only: ask by loopback or the Unix socket, or start the agent with --api-token-file',
      });
      return;
    }
    const given = /^Bearer +(\S+) *$/i.exec(request.get('authorization') ?? '')?.[1];
    if (given !== undefined && isSame(given, await readToken(tokenFile))) {
      next();
      return;
    }
    response
      .status(401)
      .set('WWW-Authenticate', `Bearer realm="netsonde"${given === undefined ? '' : ', error="invalid_token"'}`)
      .json({ error: given === undefined ? 'a bearer token is needed' : 'the bearer token is another one' });
  };
}

/** Takes the same time wherever they differ, and however long they are. */
function isSame(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

function isLocal({ localAddress, remoteAddress }: Socket): boolean {
  return isLoopback(localAddress) && isLoopback(remoteAddress);
}

/** Any other name may be a web page's, whose name server says that it is this machine: a browser would let the page read the answer. */
function isLocalName(name: string | undefined): boolean {
  return name === undefined || name === 'localhost' || isLoopback(name.replace(/^\[(.*)\]$/, '$1'));
}

function isLoopback(address: string | undefined): boolean {
  return address === '::1' || /^(::ffff:)?127\./.test(address ?? '');
}
