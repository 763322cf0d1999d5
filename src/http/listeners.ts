import { createServer as createHttp, type Server as HttpServer, type RequestListener } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import type { Connections } from './connections.ts';
import { rawAnswer } from './failure.ts';
import { Front } from './front.ts';
import type { ListenAddress } from './listen_address.ts';
import type { Refusals } from './refusals.ts';
import type { TlsSettings } from './tls_settings.ts';
import { bindUnix } from './unix_socket.ts';

/**
 * Milliseconds for which idle connections stay open. Scrapers are identified by their connections, and may scrape only
 * every two minutes.
 */
const KEEP_ALIVE_MS = 125_000;

/**
 * Maximum length of the queue of connections that wait to be accepted; net.core.somaxconn may lower it. When the queue
 * is full, the kernel drops connection attempts. The client retries after one second and again after three, by which
 * time a kubelet probe has timed out.
 */
const BACKLOG = 4_096;

/** Listens on all addresses and sockets of the agent. */
export class Listeners implements Disposable {
  readonly #connections: Connections;
  readonly #refusals: Refusals;
  readonly #servers: Server[] = [];

  constructor(connections: Connections, refusals: Refusals) {
    this.#connections = connections;
    this.#refusals = refusals;
  }

  /**
   * @param tls undefined for no TLS
   * @returns the front, which can change the TLS settings
   * @throws if it cannot listen on the address
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

  /** @throws if the path is not a socket, or if another process listens on it */
  async onUnix(path: string, app: RequestListener): Promise<void> {
    const server = this.#server(new Front(this.#http(app), this.#refusals));
    await bindUnix(server, path, BACKLOG);
    this.#servers.push(server);
  }

  /** Returns `HOST:PORT` of the first listener with a port; empty if there is none. */
  get address(): string {
    for (const server of this.#servers) {
      const address = server.address();
      if (address === null || typeof address === 'string') continue;
      const { family, address: host, port } = address;
      return family === 'IPv6' ? `[${host}]:${port}` : `${host}:${port}`;
    }
    return '';
  }

  /** Stops listening, and closes all connections. */
  [Symbol.dispose](): void {
    for (const server of this.#servers) server.close();
    this.#connections[Symbol.dispose]();
  }

  /** Creates a server that registers connections and passes them to the front. */
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
