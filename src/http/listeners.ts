import { createServer as createHttp, type Server as HttpServer, type RequestListener } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import type { Connections } from './connections.ts';
import { rawAnswer } from './failure.ts';
import { Front } from './front.ts';
import type { ListenAddress } from './listen_address.ts';
import type { Refusals } from './refusals.ts';
import type { TlsSettings } from './tls_settings.ts';
import { bindUnix } from './unix_socket.ts';

/** Milliseconds for which idle connections stay open: scrapers reuse their connection, which identifies them, at intervals of up to two minutes. */
const KEEP_ALIVE_MS = 125_000;

/**
 * Number of connections that wait to be accepted, up to the kernel's limit (net.core.somaxconn). The kernel ignores connections beyond
 * it, which retry after one second, and then after two: a kubelet would give up in between.
 */
const BACKLOG = 4_096;

/** All addresses and sockets that the agent serves on. */
export class Listeners implements Disposable {
  readonly #connections: Connections;
  readonly #refusals: Refusals;
  readonly #servers: Server[] = [];

  constructor(connections: Connections, refusals: Refusals) {
    this.#connections = connections;
    this.#refusals = refusals;
  }

  /**
   * @param tls undefined: without TLS
   * @returns a function that changes the TLS settings
   * @throws where the address cannot be listened on
   */
  async onAddress({ host, port }: ListenAddress, app: RequestListener, tls?: TlsSettings): Promise<Front> {
    const front = new Front(this.#http(app), this.#refusals);
    front.use(tls);
    const server = this.#server(front);
    await new Promise<void>((resolve, reject) =>
      server.once('error', reject).listen({ host, port, backlog: BACKLOG }, resolve),
    );
    this.#servers.push(server);
    return front;
  }

  /** @throws where the path is not a socket, or another process listens there */
  async onUnix(path: string, app: RequestListener): Promise<void> {
    const server = this.#server(new Front(this.#http(app), this.#refusals));
    await bindUnix(server, path, BACKLOG);
    this.#servers.push(server);
  }

  /** `HOST:PORT` of the first server with a port; empty where none has one. */
  get address(): string {
    for (const server of this.#servers) {
      const address = server.address();
      if (address === null || typeof address === 'string') continue;
      const { family, address: host, port } = address;
      return family === 'IPv6' ? `[${host}]:${port}` : `${host}:${port}`;
    }
    return '';
  }

  /** Closes every connection. */
  [Symbol.dispose](): void {
    for (const server of this.#servers) server.close();
    this.#connections[Symbol.dispose]();
  }

  /** Makes a server that accepts connections and passes them on. */
  #server(front: Front): Server {
    return createServer({ allowHalfOpen: true, noDelay: true }, (socket: Socket) => {
      this.#connections.open(socket);
      if (!socket.destroyed) front.accept(socket);
    });
  }

  #http(app: RequestListener): HttpServer {
    const http = createHttp({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) =>
      this.#connections.handle(request, response, app),
    );
    return http.on('clientError', ({ code }: NodeJS.ErrnoException, socket) => {
      if (code === 'ECONNRESET') socket.destroy();
      else this.#connections.malformed(socket as Socket, malformedAnswer(code));
    });
  }
}

function malformedAnswer(code: string | undefined): string {
  return code === 'HPE_HEADER_OVERFLOW'
    ? rawAnswer('431 Request Header Fields Too Large', 'the header of the request is too long')
    : rawAnswer('400 Bad Request', 'this is not HTTP/1.1');
}
