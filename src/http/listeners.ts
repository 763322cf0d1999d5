import { createServer, type RequestListener, type Server } from 'node:http';
import type { ListenAddress } from './listen_address.ts';
import { listenOnUnix } from './unix_socket.ts';

/** Scrapers come again over the same connection, by which they are told apart: up to every two minutes. */
const KEEP_ALIVE_MS = 125_000;

/** Everything that the agent serves on. */
export class Listeners implements Disposable {
  readonly #servers: Server[] = [];

  /** @throws where the address cannot be listened on */
  async onAddress({ host, port }: ListenAddress, app: RequestListener): Promise<void> {
    const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, app);
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen({ host, port }, resolve));
    this.#servers.push(server);
  }

  /** @throws where the path is something else than a socket, or another process listens there */
  async onUnix(path: string, app: RequestListener): Promise<void> {
    this.#servers.push(await listenOnUnix(path, app));
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
    for (const server of this.#servers) {
      server.closeAllConnections();
      server.close();
    }
  }
}
