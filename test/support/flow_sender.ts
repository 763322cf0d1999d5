import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { startPython, type TestNetns } from './hosts.ts';

/** Reads everything from each connection, and closes it after the client. */
const SINK = (ports: readonly number[]) => `
import selectors, socket, threading
def serve(connection):
    while connection.recv(65536): pass
    connection.close()
servers = selectors.DefaultSelector()
for port in ${JSON.stringify(ports)}:
    server = socket.create_server(('', port), backlog=128, family=socket.AF_INET6, dualstack_ipv6=True)
    servers.register(server, selectors.EVENT_READ)
print('ready')
while True:
    for key, _ in servers.select():
        threading.Thread(target=serve, args=(key.fileobj.accept()[0],), daemon=True).start()
`;

/**
 * Reads an address, a port, a number of bytes and a name per line, and sends the bytes. Without a name, it uses a new
 * connection and waits for its end. Otherwise it keeps the connection open, and uses it again for the same name.
 */
const CLIENT = `
import socket, sys
print('ready', flush=True)
held = {}
for line in sys.stdin:
    ip, port, count, name = (line.rstrip('\\n') + ' ').split(' ')[:4]
    if name:
        if name not in held: held[name] = socket.create_connection((ip, int(port)))
        held[name].sendall(bytes(int(count)))
    else:
        with socket.create_connection((ip, int(port))) as client:
            client.sendall(bytes(int(count)))
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536): pass
    print('done', flush=True)
`;

/** Starts a server in a namespace that reads everything from all connections to these ports, over IPv4 and IPv6. */
export function startSink(netns: TestNetns, ports: readonly number[]): Promise<AsyncDisposable> {
  return startPython(netns, SINK(ports));
}

/** A process that sends bytes from a namespace. */
export class Sender implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #port: number;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>, port: number) {
    this.#child = child;
    this.#lines = lines;
    this.#port = port;
  }

  /** @param port port of the server, unless `send` gets another one */
  static async start({ name }: TestNetns, port: number): Promise<Sender> {
    const child = spawn('ip', ['netns', 'exec', name, 'python3', '-u', '-c', CLIENT], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const sender = new Sender(child, createInterface({ input: child.stdout })[Symbol.asyncIterator](), port);
    await sender.#answer('ready');
    return sender;
  }

  /** Sends bytes over a new connection, and returns once the server has closed it. */
  async send(ip: string, bytes: number, port = this.#port): Promise<void> {
    await this.#tell(`${ip} ${port} ${bytes}`);
  }

  /** Sends bytes over a connection that stays open, and that is opened with the first bytes. */
  async sendOn(name: string, ip: string, bytes: number, port = this.#port): Promise<void> {
    await this.#tell(`${ip} ${port} ${bytes} ${name}`);
  }

  async #tell(line: string): Promise<void> {
    this.#child.stdin?.write(`${line}\n`);
    await this.#answer('done');
  }

  async #answer(wanted: string): Promise<void> {
    const { value } = await this.#lines.next();
    if (value !== wanted) throw new Error(`the sender said ${value}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await gone;
  }
}
