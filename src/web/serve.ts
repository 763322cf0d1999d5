import { createHash } from 'node:crypto';
import type { Request, Response } from 'express';
import { readPageFile } from '#core/assets.ts';

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
};

/** The names of built files contain a hash of their content, except `index.html`. */
const HASHED = /^[a-z_]+-[A-Z0-9]{8}\.(js|css)$/;

/**
 * Allows only the page's own files. Forbids inline scripts and styles, and forbids other pages to embed this page in
 * frames.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const SECURITY = {
  'Content-Security-Policy': POLICY,
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
};

/**
 * Serves the page at `/`, and the files that it needs. Files are read for each request, so that an unused page takes no
 * memory. Each file also exists in a compressed version.
 */
export async function servePage(request: Request, response: Response): Promise<void> {
  const name = typeof request.params['name'] === 'string' ? request.params['name'] : 'index.html';
  const isHashed = HASHED.test(name);
  const takesGzip = request.acceptsEncodings('gzip') === 'gzip';
  const isKnown = isHashed || request.path === '/';
  const body = isKnown ? await readPageFile(takesGzip ? `${name}.gz` : name) : undefined;
  if (body === undefined) {
    sendMissing(request, response);
    return;
  }
  response.set(SECURITY);
  response.set('Content-Type', TYPES[name.slice(name.lastIndexOf('.') + 1)]);
  response.set('Vary', 'Accept-Encoding');
  response.set('Cache-Control', isHashed ? 'public, max-age=31536000, immutable' : 'no-cache');
  response.set('ETag', `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`);
  if (request.fresh) {
    response.status(304).end();
    return;
  }
  if (takesGzip) response.set('Content-Encoding', 'gzip');
  response.end(body);
}

function sendMissing(request: Request, response: Response): void {
  response.status(404);
  if (request.path === '/') {
    response
      .type('text')
      .send(
        'The web page was not built; run scripts/setup. Everything else works: /metrics, /api/v1/probes, /healthz.\n',
      );
  } else response.json({ error: 'no such page' });
}
