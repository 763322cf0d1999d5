import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { flushCompileCache } from 'node:module';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

/**
 * Generates traffic in its network namespace when a test requests it. Reads one JSON request per line from stdin, and
 * writes a JSON line when the request has been completed.
 */

interface Command {
  readonly id: number;
  readonly call: keyof typeof CALLS;
  readonly args: Record<string, unknown>;
}

const servers = new Map<number, Server>();
const receivers = new Map<number, { socket: UdpSocket; received: number }>();
const held: Socket[] = [];

function udpType(address: string): 'udp4' | 'udp6' {
  return address.includes(':') ? 'udp6' : 'udp4';
}

/** Receives datagrams, over IPv4 and IPv6 if the address is `::`. */
function udpReceive({ address, port }: { address: string; port: number }): Promise<void> {
  const socket = createSocket(udpType(address));
  const receiver = { socket, received: 0 };
  socket.on('message', () => {
    receiver.received++;
  });
  receivers.set(port, receiver);
  return new Promise((resolve) => socket.bind(port, address, resolve));
}

function udpReceived({ port }: { port: number }): number {
  return receivers.get(port)?.received ?? 0;
}

/** Sends datagrams one after the other from a single socket, ignoring ICMP errors. Returns the source port. */
async function udpSend(given: { address: string; port: number; count: number; bytes: number }): Promise<number> {
  const { address, port, count, bytes } = given;
  const socket = createSocket(udpType(address));
  socket.on('error', () => undefined);
  for (let index = 0; index < count; index++) {
    await new Promise<void>((resolve) => socket.send(Buffer.alloc(bytes), port, address, () => resolve()));
  }
  const { port: source } = socket.address();
  socket.close();
  return source;
}

/** Starts a server that echoes all data, and closes each connection when the client does. */
function tcpServe({ address, port }: { address: string; port: number }): Promise<void> {
  const server = createServer({ allowHalfOpen: false }, (socket) => {
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  servers.set(port, server);
  return new Promise((resolve) => server.listen(port, address, resolve));
}

function tcpStop({ port }: { port: number }): Promise<void> {
  return new Promise((resolve) => servers.get(port)?.close(() => resolve()));
}

function open(address: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port });
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

/** Opens connections one after the other. Sends `bytes` bytes on each one, waits for the echo, and closes it. */
async function tcpExchange(given: { address: string; port: number; count: number; bytes: number }): Promise<void> {
  const { address, port, count, bytes } = given;
  for (let index = 0; index < count; index++) {
    const socket = await open(address, port);
    let received = 0;
    const done = new Promise<void>((resolve) => {
      socket.on('data', (data) => {
        received += data.length;
        if (received === bytes) resolve();
      });
    });
    socket.write(Buffer.alloc(bytes));
    await done;
    await new Promise<void>((resolve) => {
      socket.once('close', () => resolve());
      socket.end();
    });
  }
}

/** Opens connections and keeps them open. */
async function tcpHold({ address, port, count }: { address: string; port: number; count: number }): Promise<void> {
  for (let index = 0; index < count; index++) held.push(await open(address, port));
}

/** Tries to connect. Returns `connected`, `timeout` or an error code. */
function tcpTry({ address, port, timeoutMs }: { address: string; port: number; timeoutMs: number }): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const end = (outcome: string) => {
      socket.destroy();
      resolve(outcome);
    };
    socket.once('connect', () => end('connected'));
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? ''));
    setTimeout(() => end('timeout'), timeoutMs).unref();
  });
}

const CALLS = { udpReceive, udpReceived, udpSend, tcpServe, tcpStop, tcpExchange, tcpHold, tcpTry } as const;

createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, call, args } = JSON.parse(line) as Command;
  try {
    const result = await CALLS[call](args as never);
    process.stdout.write(`${JSON.stringify({ id, result: result ?? null })}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ id, error: String(error) })}\n`);
  }
});
process.stdin.on('end', () => process.exit());
// By default, the cache is written on exit, but tests kill this process.
flushCompileCache();
process.stdout.write(`${JSON.stringify({ id: 0, result: null })}\n`);
