import { connect, type Socket } from 'node:net';

const TIMEOUT_MS = 2_000;

interface Waiting {
  readonly resolve: (value: Reply) => void;
  readonly reject: (error: Error) => void;
}

export type Reply = string | number | null | readonly Reply[];

/**
 * A Redis client with one connection, which it reopens after a failure
 * (https://redis.io/docs/latest/develop/reference/protocol-spec/).
 */
export class Redis {
  readonly #host: string;
  readonly #port: number;
  #socket: Socket | undefined;
  #waiting: Waiting[] = [];
  #rest = '';

  constructor(host: string, port = 6_379) {
    this.#host = host;
    this.#port = port;
  }

  /**
   * Sends a command. @param waitMs maximum time in milliseconds for which the command itself waits
   * @throws if there is no reply in time, or if the reply is an error
   */
  async send(command: readonly string[], waitMs = 0): Promise<Reply> {
    this.#socket ??= this.#connect();
    const socket = this.#socket;
    const parts = command.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`);
    const timer = setTimeout(() => socket.destroy(new Error('Redis does not answer')), TIMEOUT_MS + waitMs);
    try {
      return await new Promise<Reply>((resolve, reject) => {
        this.#waiting.push({ resolve, reject });
        socket.write(`*${parts.length}\r\n${parts.join('')}`);
      });
    } finally {
      clearTimeout(timer);
    }
  }

  #connect(): Socket {
    const socket = connect({ host: this.#host, port: this.#port });
    let why = new Error('Redis closed the connection');
    socket.setEncoding('latin1');
    socket.on('data', (data) => this.#hear(String(data)));
    socket.once('error', (error) => {
      why = error;
    });
    socket.once('close', () => {
      this.#socket = undefined;
      this.#rest = '';
      for (const { reject } of this.#waiting.splice(0)) reject(why);
    });
    return socket;
  }

  #hear(data: string): void {
    this.#rest += data;
    for (;;) {
      const found = parse(this.#rest, 0);
      if (found === undefined) return;
      this.#rest = this.#rest.slice(found.next);
      const waiting = this.#waiting.shift();
      if (found.value instanceof Error) waiting?.reject(found.value);
      else waiting?.resolve(found.value);
    }
  }
}

/** Parses a reply. Returns undefined if the reply is not complete. */
function parse(data: string, at: number): { value: Reply | Error; next: number } | undefined {
  const end = data.indexOf('\r\n', at);
  if (end < 0) return undefined;
  const line = data.slice(at + 1, end);
  const next = end + 2;
  switch (data[at]) {
    case '+':
      return { value: line, next };
    case '-':
      return { value: new Error(line), next };
    case ':':
      return { value: Number(line), next };
    case '$':
      return parseText(data, Number(line), next);
    default:
      return parseList(data, Number(line), next);
  }
}

function parseText(data: string, length: number, at: number): ReturnType<typeof parse> {
  if (length < 0) return { value: null, next: at };
  return data.length < at + length + 2 ? undefined : { value: data.slice(at, at + length), next: at + length + 2 };
}

function parseList(data: string, length: number, at: number): ReturnType<typeof parse> {
  if (length < 0) return { value: null, next: at };
  const values: Reply[] = [];
  let next = at;
  for (let index = 0; index < length; index++) {
    const found = parse(data, next);
    if (found === undefined) return undefined;
    if (found.value instanceof Error) return { value: found.value, next: found.next };
    values.push(found.value);
    next = found.next;
  }
  return { value: values, next };
}
