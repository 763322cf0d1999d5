import { createServer, type IncomingMessage, request as requestHttp, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

/** A forward proxy for http:// (absolute-form requests) and https:// (CONNECT; RFC 9110, 9.3.6). */
export class HttpProxy implements AsyncDisposable {
  /** Received requests with their credentials. */
  readonly asked: { readonly line: string; readonly login: string | undefined }[] = [];
  /** Required credentials. */
  login: string | undefined;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<HttpProxy> {
    const server = createServer();
    const proxy = new HttpProxy(server);
    server.on('request', (request, response) => {
      if (!proxy.#letsIn(request)) {
        response.writeHead(407).end();
        return;
      }
      const { 'proxy-authorization': _, ...headers } = request.headers;
      const onward = requestHttp(request.url ?? '', { method: request.method, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      });
      onward.on('error', () => response.writeHead(502).end());
      request.pipe(onward);
    });
    server.on('connect', (request: IncomingMessage, socket: Socket) => {
      if (!proxy.#letsIn(request)) {
        socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
        return;
      }
      const [host = '', port = ''] = (request.url ?? '').split(':');
      const onward = connect(Number(port), host, () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        socket.pipe(onward).pipe(socket);
      });
      for (const end of [socket, onward]) {
        proxy.#sockets.add(end);
        end.on('error', () => undefined);
      }
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  #letsIn({ method, url, headers }: IncomingMessage): boolean {
    const login = headers['proxy-authorization'];
    this.asked.push({ line: `${method} ${url}`, login });
    return this.login === undefined || login === this.login;
  }
}
