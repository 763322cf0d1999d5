import { createSocket } from 'node:dgram';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const DISK = fileURLToPath(new URL('./hanging_disk.py', import.meta.url));
/** A loopback address that no other program on this machine uses. */
const RESOLVER = '127.83.71.9';
const DNS_PORT = 53;

/** Services that never respond: a name server, an HTTP server and a disk. */
export class Hangs implements AsyncDisposable {
  /** `http://HOST:PORT` of a server that accepts connections and never responds. */
  readonly url: string;
  /** Directory on the hanging disk. */
  readonly disk: string;
  /**
   * Command prefix that makes these services visible to a command. The command runs in its own mount namespace, which
   * is destroyed when the command exits.
   */
  readonly wrapper: readonly string[];
  readonly #close: () => Promise<void>;

  private constructor(folder: string, url: string, close: () => Promise<void>) {
    this.url = url;
    this.disk = join(folder, 'disk');
    this.#close = close;
    const resolver = join(folder, 'resolv.conf');
    const ready = join(folder, 'ready');
    mkdirSync(this.disk);
    // 30 s is the longest timeout that a resolver accepts.
    writeFileSync(resolver, `nameserver ${RESOLVER}\noptions timeout:30 attempts:5\n`);
    const script = `mount --bind ${resolver} /etc/resolv.conf
python3 ${DISK} ${this.disk} ${ready} &
while [ ! -e ${ready} ]; do sleep 0.1; done
exec "$@"`;
    this.wrapper = ['unshare', '--mount', '--propagation', 'private', 'sh', '-ec', script, 'sh'];
  }

  /** @param folder an empty directory */
  static async start(folder: string): Promise<Hangs> {
    const resolver = createSocket('udp4');
    await new Promise<void>((resolve) => resolver.bind(DNS_PORT, RESOLVER, resolve));
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined).resume();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    return new Hangs(folder, `http://127.0.0.1:${port}`, async () => {
      for (const socket of sockets) socket.destroy();
      await Promise.all([
        new Promise<void>((resolve) => resolver.close(resolve)),
        new Promise((resolve) => server.close(resolve)),
      ]);
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#close();
  }
}
