import { createServer, type Server, type Socket } from 'node:net';
import { type PeerCredentials, peerCredentials } from 'bpf-napi';
import { TOOL_USE, TOOL_USE_BYTES, TOOL_USE_MS, type ToolReceipt, type ToolUse } from '#api/tool_use.ts';

/** Maximum number of connections at the same time. Further ones are closed. */
const CONNECTIONS_MAX = 16;
const ROOT = 0;

/** Why an announcement was refused. */
export const REFUSALS = ['user', 'malformed', 'late', 'rate', 'off'] as const;
export type Refusal = (typeof REFUSALS)[number];

const REASONS: Readonly<Record<Refusal, string>> = {
  user: 'the agent accepts announcements only from root and from its own user',
  malformed: 'the agent has a different version',
  late: 'the announcement was not complete in time',
  rate: 'there were too many uses in a short time',
  off: 'the configuration switches the events of the probe `tooluse` off',
};

export interface ToolSocketOptions {
  /** Name of the abstract Unix socket, without the zero byte. */
  readonly name: string;
  /** Called for each use by a permitted user. Returns why it is refused; undefined if it is recorded. */
  readonly used: (use: ToolUse, by: PeerCredentials) => Refusal | undefined;
  /** Called for each refused announcement. */
  readonly refused: (refusal: Refusal) => void;
}

/**
 * Receives the announcements of commands. A connection carries one announcement, of limited size and in limited time.
 * Everything that it says about the sender comes from the kernel.
 */
export class ToolSocket implements AsyncDisposable {
  readonly #options: ToolSocketOptions;
  readonly #server: Server;
  readonly #open = new Set<Socket>();

  private constructor(options: ToolSocketOptions) {
    this.#options = options;
    this.#server = createServer((socket) => this.#receive(socket));
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  /** @throws if the name is in use */
  static async open(options: ToolSocketOptions): Promise<ToolSocket> {
    const opened = new ToolSocket(options);
    await new Promise<void>((resolve, reject) => {
      opened.#server.once('error', reject).listen({ path: `\0${options.name}` }, resolve);
    });
    // An error of a single connection does not end the server.
    opened.#server.on('error', () => undefined);
    opened.#server.unref();
    return opened;
  }

  #receive(socket: Socket): void {
    this.#open.add(socket);
    socket.once('close', () => this.#open.delete(socket));
    socket.on('error', () => undefined);
    const by = credentialsOf(socket);
    if (by === undefined || (by.uid !== ROOT && by.uid !== process.geteuid?.())) {
      this.#answer(socket, 'user');
      return;
    }
    const chunks: Buffer[] = [];
    let bytes = 0;
    const late = setTimeout(() => this.#answer(socket, 'late'), TOOL_USE_MS);
    socket.once('close', () => clearTimeout(late));
    socket.on('data', (chunk) => {
      if (socket.writableEnded) return;
      chunks.push(chunk);
      bytes += chunk.length;
      const end = chunk.indexOf('\n');
      if (bytes > TOOL_USE_BYTES) this.#answer(socket, 'malformed');
      else if (end >= 0) this.#take(socket, Buffer.concat(chunks).toString('utf8').split('\n', 1)[0] ?? '', by);
    });
  }

  #take(socket: Socket, line: string, by: PeerCredentials): void {
    const use = parse(line);
    this.#answer(socket, use === undefined ? 'malformed' : this.#options.used(use, by));
  }

  /** Responds, and closes the connection once the other end has, or after the same time again. */
  #answer(socket: Socket, refusal: Refusal | undefined): void {
    if (socket.writableEnded) return;
    // Closing a socket with unread data would discard the response.
    socket.resume();
    const closing = setTimeout(() => socket.destroy(), TOOL_USE_MS);
    socket.once('close', () => clearTimeout(closing));
    if (refusal !== undefined) this.#options.refused(refusal);
    const receipt: ToolReceipt =
      refusal === undefined ? { recorded: true } : { recorded: false, reason: REASONS[refusal] };
    socket.end(`${JSON.stringify(receipt)}\n`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#open) socket.destroy();
    await closed;
  }
}

function parse(line: string): ToolUse | undefined {
  try {
    return TOOL_USE.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

/** Returns undefined if the connection has already been closed. */
function credentialsOf(socket: Socket): PeerCredentials | undefined {
  // Node.js offers no other access to the descriptor.
  const { fd } = (socket as unknown as { readonly _handle: { readonly fd: number } | null })._handle ?? { fd: -1 };
  return fd < 0 ? undefined : peerCredentials(fd);
}
