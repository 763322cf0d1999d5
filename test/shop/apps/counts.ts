import { subscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';

/**
 * Totals of TCP connections that a program counted itself. Bytes are the payload of TCP, so they include the overhead
 * of TLS.
 */
export interface Counts {
  /** Established connections. */
  connections: number;
  /** Connection attempts that failed. */
  failed: number;
  sentBytes: number;
  receivedBytes: number;
}

/** Keeps the open sockets by key, and the totals of closed sockets for each key. */
class Book {
  readonly #closed = new Map<string, Counts>();
  readonly #open = new Map<Socket, string>();

  open(key: string, socket: Socket): void {
    this.#open.set(socket, key);
    socket.once('close', () => {
      this.#open.delete(socket);
      addBytes(this.of(key), socket);
    });
  }

  of(key: string): Counts {
    let counts = this.#closed.get(key);
    if (counts === undefined) {
      counts = { connections: 0, failed: 0, sentBytes: 0, receivedBytes: 0 };
      this.#closed.set(key, counts);
    }
    return counts;
  }

  snapshot(): Record<string, Counts> {
    const counts = structuredClone(this.#closed);
    for (const [socket, key] of this.#open) {
      const sum = counts.get(key);
      if (sum !== undefined) addBytes(sum, socket);
    }
    return Object.fromEntries(counts);
  }
}

function addBytes(counts: Counts, { bytesWritten, bytesRead }: Socket): void {
  counts.sentBytes += bytesWritten;
  counts.receivedBytes += bytesRead;
}

const clients = new Book();
const servers = new Book();

/** From now on, counts all TCP connections of this process, whichever library opens them. */
export function countSockets(): void {
  subscribe('net.client.socket', (message) => follow((message as { socket: Socket }).socket));
  subscribe('net.server.socket', (message) => {
    const { socket } = message as { socket: Socket };
    if (socket.localPort === undefined) return;
    const key = String(socket.localPort);
    servers.of(key).connections++;
    servers.open(key, socket);
  });
}

function follow(socket: Socket): void {
  let key: string | undefined;
  let isConnected = false;
  socket.once('connectionAttempt', (ip: string, port: number) => {
    key = `${ip}:${port}`;
    clients.of(key);
  });
  socket.once('connect', () => {
    if (key === undefined) return;
    isConnected = true;
    clients.of(key).connections++;
    clients.open(key, socket);
  });
  socket.once('close', () => {
    if (key !== undefined && !isConnected) clients.of(key).failed++;
  });
}

/** Totals of the connections that this process opened, by `address:port` of the server. */
export function clientCounts(): Record<string, Counts> {
  return clients.snapshot();
}

/** Totals of the connections that this process accepted, by its port. */
export function serverCounts(): Record<string, Counts> {
  return servers.snapshot();
}
