import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';
import { makePackages, packumentOf } from './packages.ts';

/**
 * An npm registry over TLS. Its arguments are a key, a certificate, the number of packages, and its own URL. For each
 * line on stdin, it prints its counts as a JSON object.
 */

const [key = '', certificate = '', count = '0', url = ''] = process.argv.slice(2);
const packages = new Map(makePackages(Number(count)).map((made) => [made.name, made]));
const done = { connections: 0, requests: 0, bytes: 0, refused: 0 };

const server = createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (request, response) => {
  done.requests++;
  const [, name = '', dash] = (request.url ?? '').split('/');
  const made = packages.get(decodeURIComponent(name));
  if (made === undefined) {
    done.refused++;
    response.writeHead(404).end('{}');
    return;
  }
  const body = dash === '-' ? made.tarball : Buffer.from(JSON.stringify(packumentOf(made, url)));
  done.bytes += body.length;
  const type = dash === '-' ? 'application/octet-stream' : 'application/json';
  response.writeHead(200, { 'content-type': type, 'content-length': body.length }).end(body);
});
server.on('secureConnection', () => {
  done.connections++;
});
createInterface({ input: process.stdin }).on('line', () => process.stdout.write(`${JSON.stringify(done)}\n`));
process.stdin.on('end', () => process.exit());
server.listen(Number(new URL(url).port), '::', () => process.stdout.write(`${JSON.stringify(done)}\n`));
