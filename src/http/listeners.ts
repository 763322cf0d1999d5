import { createServer as createHttp, type Server as HttpServer, type RequestListener } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import type { Connections } from './connections.ts';
import type { ListenAddress } from './listen_address.ts';
import { bindUnix } from './unix_socket.ts';

/** Scrapers come again over the same connection, by which they are told apart: up to every two minutes. */
const KEEP_ALIVE_MS = 125_000;

/** Everything that the agent serves on. */
export class Listeners implements Disposable {
  readonly #connections: Connections;
  readonly #servers: Server[] = [];

  constructor(connections: Connections) {
    this.#connections = connections;
  }

  /** @throws where the address cannot be listened on */
  async onAddress({ host, port }: ListenAddress, app: RequestListener): Promise<void> {
    const server = this.#server(this.#http(app));
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen({ host, port }, resolve));
    this.#servers.push(server);
  }

  /** @throws where the path is something else than a socket, or another process listens there */
  async onUnix(path: string, app: RequestListener): Promise<void> {
    const server = this.#server(this.#http(app));
    await bindUnix(server, path);
    this.#servers.push(server);
  }

  /** `HOST:PORT` of the first one that has a port; empty where none has. */
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

  /** Accepts, and hands what is accepted to the one that speaks HTTP. */
  #server(http: HttpServer): Server {
    return createServer({ allowHalfOpen: true, noDelay: true }, (socket: Socket) => {
      this.#connections.open(socket);
      if (!socket.destroyed) http.emit('connection', socket);
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
  const isLong = code === 'HPE_HEADER_OVERFLOW';
  const body = JSON.stringify({ error: isLong ? 'the header of the request is too long' : 'this is not HTTP/1.1' });
  const head = [
    `HTTP/1.1 ${isLong ? '431 Request Header Fields Too Large' : '400 Bad Request'}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${body.length}`,
    'Connection: close',
  ];
  return [...head, '', body].join('\r\n');
}
