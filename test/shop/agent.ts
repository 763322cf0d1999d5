import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { withNetns } from 'bpf-napi';
import { BIN } from '../support/agent_process.ts';
import type { ApiServer } from '../support/api_server.ts';
import { eventually } from '../support/oracle.ts';
import type { Cgroup } from './cgroup.ts';
import { type Machine, onLines } from './machine.ts';

const START_MS = 110_000;
const LOG_MAX = 100_000;

export interface AgentGiven {
  readonly node: string;
  readonly machine: Machine;
  /** The cgroup in which the agent's container runs. */
  readonly cgroup: Cgroup;
  readonly api: ApiServer;
  /** Path of the configuration file. */
  readonly config: string;
  /** Directory for the agent's files. */
  readonly folder: string;
  /** Port on this machine at which the agent's page is served; 0 for any free port. */
  readonly port: number;
}

/** An agent on a node of the shop. As with the DaemonSet, it runs in the network and PID namespaces of the node. */
export class ShopAgent implements AsyncDisposable {
  readonly node: string;
  readonly url: string;
  readonly #ways: AsyncDisposable;
  readonly #stop: () => Promise<void>;
  readonly #output: string[];

  private constructor(node: string, url: string, output: string[], ways: AsyncDisposable, stop: () => Promise<void>) {
    this.node = node;
    this.url = url;
    this.#output = output;
    this.#ways = ways;
    this.#stop = stop;
  }

  static async start({ node, machine, cgroup, api, config, folder, port }: AgentGiven): Promise<ShopAgent> {
    await using ways = new AsyncDisposableStack();
    const apiPort = Number(new URL(api.url).port);
    ways.use(
      await forward(() => withNetns(machine.netnsPath(), () => createServer().listen(apiPort)), { port: apiPort }),
    );
    const socket = join(folder, 'api.sock');
    const server = ways.use(await forward(() => createServer().listen(port, '127.0.0.1'), { path: socket }));
    const options = ['--kubernetes', 'on', '--config', config, '--sys', machine.sys];
    const files = ['--api-socket', socket, '--state', join(folder, 'state')];
    const child = machine.launch({
      command: [BIN, 'serve', ...options, ...files],
      cgroup,
      env: api.environment(node),
    });
    const output: string[] = [];
    let length = 0;
    onLines(child, (line) => {
      length += line.length;
      output.push(line);
      while (length > LOG_MAX) length -= output.shift()?.length ?? 0;
    });
    const gone = once(child, 'exit');
    let hasEnded = false;
    void gone.then(() => {
      hasEnded = true;
    });
    await eventually(() => {
      if (!hasEnded && !output.some((line) => line.includes('serves on')))
        throw new Error(`no agent:\n${output.join('\n')}`);
    }, START_MS);
    if (hasEnded) throw new Error(`the agent of ${node} has ended:\n${output.join('\n')}`);
    const url = `http://127.0.0.1:${server.port}`;
    const stop = async () => {
      await endAll(cgroup);
      await gone;
    };
    return new ShopAgent(node, url, output, ways.move(), stop);
  }

  /** Lines of the agent's log, and the events that it printed. */
  get log(): readonly string[] {
    return this.#output;
  }

  /** Requests a path of the API. @throws if the response is not JSON */
  async json<T>(path: string): Promise<T> {
    const response = await fetch(`${this.url}${path}`, { headers: { connection: 'close' } });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    await this.#ways[Symbol.asyncDispose]();
  }
}

async function endAll(cgroup: Cgroup): Promise<void> {
  cgroup.kill();
  await eventually(() => {
    if (/populated 1/.test(readFileSync(join(cgroup.path, 'cgroup.events'), 'utf8'))) throw new Error('still running');
  });
}

/**
 * Forwards connections to a port of this machine or to a Unix socket. The target must be in this network namespace,
 * because Node.js creates the socket only after `connect` has returned.
 */
async function forward(
  listen: () => Server,
  to: { readonly port: number } | { readonly path: string },
): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<Socket>();
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
  };
  const server = listen().on('connection', (near: Socket) => {
    const far = connect('path' in to ? to : { ...to, host: '127.0.0.1' });
    keep(near);
    keep(far);
    near.pipe(far).pipe(near);
    near.once('close', () => far.destroy());
    far.once('close', () => near.destroy());
  });
  if (!server.listening) await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      const closed = once(server, 'close');
      server.close();
      await closed;
    },
  };
}
