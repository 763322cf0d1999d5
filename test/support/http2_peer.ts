/**
 * Sends requests of HTTP/2 and calls of gRPC, and answers calls. Prints what it has counted as JSON.
 *
 *   load ADDRESS COUNT STREAMS CONNECTIONS
 *                    sends COUNT requests of many kinds to the nginx of http_traffic.ts, at most STREAMS at a time on each
 *                    of CONNECTIONS connections. With the fifth argument `proxied`, the connections begin with a header of the
 *                    PROXY protocol.
 *   serve ADDRESS    answers calls of gRPC until the standard input ends, after printing `ready`
 *   call ADDRESS COUNT STREAMS
 *                    makes COUNT calls of gRPC, at most STREAMS at a time. With the fifth argument `wait`, makes a call,
 *                    prints `ready` and waits until the standard input ends before it makes the others.
 *   abandon ADDRESS  makes two calls that get no answer, cancels the first one and closes the connection before the other
 *                    one has ended
 */
import { once } from 'node:events';
import { type ClientHttp2Session, connect, constants } from 'node:http2';
import { Socket } from 'node:net';
import { argv, stdin } from 'node:process';
import { credentials, Metadata, makeGenericClientConstructor, Server, ServerCredentials } from '@grpc/grpc-js';

const REQUESTS: readonly (readonly [method: string, path: string])[] = [
  ['GET', '/small'],
  ['GET', '/moved'],
  ['GET', '/missing'],
  ['GET', '/error'],
  ['GET', '/empty'],
  ['GET', '/large'],
  ['HEAD', '/small'],
  ['POST', '/answer'],
  ['PUT', '/answer'],
  ['DELETE', '/answer'],
  ['PATCH', '/answer'],
  ['OPTIONS', '/answer'],
];

/** Codes of the methods of the service. */
const CODES = { Get: 0, Fail: 13, Missing: 5, Deny: 7, Busy: 14 } as const;
type Name = keyof typeof CODES | 'List' | 'Hang';

const counts: Record<string, number> = {};

function count(key: string): void {
  counts[key] = (counts[key] ?? 0) + 1;
}

function request(session: ClientHttp2Session, index: number): Promise<void> {
  const [method, path] = REQUESTS[index % REQUESTS.length] as readonly [string, string];
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ':method': method,
      ':path': path,
      'x-request-id': String(index),
      cookie: 'c'.repeat(index % 300),
    });
    stream.once('response', (headers) => count(`${method} ${headers[':status']}`));
    stream.once('end', resolve);
    stream.once('error', reject);
    stream.resume();
    if (method === 'POST' || method === 'PUT' || method === 'PATCH') stream.end('b'.repeat(index % 2_000));
    else stream.end();
  });
}

/** Runs numbered tasks, at most `width` at a time. */
async function inParallel(total: number, width: number, task: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const work = async () => {
    while (next < total) await task(next++);
  };
  await Promise.all(Array.from({ length: width }, work));
}

/** Returns a connection that begins with a header of the PROXY protocol. */
function proxied(address: string): Socket {
  const { hostname, port } = new URL(`http://${address}`);
  const socket = new Socket();
  socket.connect(Number(port), hostname);
  socket.write('PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\n');
  return socket;
}

async function load(
  address: string,
  total: number,
  streams: number,
  connections: number,
  isProxied: boolean,
): Promise<void> {
  const work = async () => {
    const session = connect(`http://${address}`, {
      paddingStrategy: constants.PADDING_STRATEGY_MAX,
      ...(isProxied ? { createConnection: () => proxied(address) } : {}),
    });
    await inParallel(total / connections, streams, (index) => request(session, index));
    session.close();
    await once(session, 'close');
  };
  await Promise.all(Array.from({ length: connections }, work));
}

function definition(name: Name) {
  return {
    path: `/test.Cart/${name}`,
    requestStream: false,
    responseStream: name === 'List',
    requestSerialize: (value: string) => Buffer.from(value),
    requestDeserialize: (bytes: Buffer) => bytes.toString(),
    responseSerialize: (value: string) => Buffer.from(value),
    responseDeserialize: (bytes: Buffer) => bytes.toString(),
  };
}

const NAMES = [...Object.keys(CODES), 'List'] as Name[];
const SERVICE = Object.fromEntries([...NAMES, 'Hang' as const].map((name) => [name, definition(name)]));

type Reply = (error: object | null, value?: string) => void;

async function serve(address: string): Promise<void> {
  const server = new Server();
  const unary = (code: number) => (_: unknown, reply: Reply) =>
    code === 0 ? reply(null, 'x'.repeat(100)) : reply({ code, details: 'as asked' });
  server.addService(SERVICE, {
    ...Object.fromEntries(Object.entries(CODES).map(([name, code]) => [name, unary(code)])),
    List: (call: { write(value: string): void; end(): void }) => {
      for (let index = 0; index < 3; index++) call.write('x'.repeat(20_000));
      call.end();
    },
    Hang: () => undefined,
  } as never);
  await new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error) => (error ? reject(error) : resolve(null)));
  });
  console.log('ready');
  stdin.resume();
  await once(stdin, 'end');
  server.forceShutdown();
}

async function call(address: string, total: number, streams: number, waits: boolean): Promise<void> {
  const Client = makeGenericClientConstructor(SERVICE as never, 'Cart');
  const client = new Client(address, credentials.createInsecure()) as unknown as Record<
    string,
    (...args: unknown[]) => never
  >;
  const one = (index: number) =>
    new Promise<void>((resolve) => {
      const name = NAMES[index % NAMES.length] as Name;
      const metadata = new Metadata();
      metadata.set('x-request-id', String(index));
      const done = (error: { code: number } | null) => {
        count(`/test.Cart/${name} ${error?.code ?? 0}`);
        resolve();
      };
      if (name !== 'List') {
        client[name]?.('a', metadata, done);
        return;
      }
      const stream = client[name]?.('a', metadata) as unknown as NodeJS.ReadableStream;
      stream.on('error', () => undefined);
      stream.on('status', (status: { code: number }) => done(status.code === 0 ? null : status));
      stream.resume();
    });
  if (waits) {
    for (let index = 0; index < NAMES.length; index++) await one(index);
    for (const key of Object.keys(counts)) delete counts[key];
    console.log('ready');
    stdin.resume();
    await once(stdin, 'end');
  }
  await inParallel(total, streams, one);
  (client as unknown as { close(): void }).close();
}

/** Makes two calls without gRPC's client, which cancels its calls before it closes a connection. */
async function abandon(address: string): Promise<void> {
  const session = connect(`http://${address}`);
  const headers = {
    ':method': 'POST',
    ':path': '/test.Cart/Hang',
    'content-type': 'application/grpc',
    te: 'trailers',
  };
  const streams = [session.request(headers), session.request(headers)];
  for (const stream of streams) {
    stream.on('error', () => undefined);
    stream.end(Buffer.from([0, 0, 0, 0, 1, 97]));
  }
  // The answer to a ping comes after the server has received the calls.
  await new Promise((resolve) => session.ping(resolve));
  streams[0]?.close(constants.NGHTTP2_CANCEL);
  await once(streams[0] as NodeJS.EventEmitter, 'close');
  await new Promise((resolve) => session.ping(resolve));
  session.socket.destroy();
}

const [command, address = '', ...rest] = argv.slice(2);
const [total = 0, width = 1, connections = 1] = rest.map(Number);
if (command === 'load') await load(address, total, width, connections, rest[3] === 'proxied');
if (command === 'serve') await serve(address);
if (command === 'call') await call(address, total, width, rest[2] === 'wait');
if (command === 'abandon') await abandon(address);
if (command !== 'serve') console.log(JSON.stringify(counts));
process.exit(0);
