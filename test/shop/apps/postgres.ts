import { connect, type NetConnectOpts, type Socket } from 'node:net';

const TIMEOUT_MS = 5_000;
/** Version 3.0 of the protocol (https://www.postgresql.org/docs/current/protocol-message-formats.html). */
const VERSION = 0x30000;
const HEADER = 5;
const USER = 'shop';
const DATABASE = 'postgres';

type Row = readonly string[];

interface Waiting {
  readonly sql: string;
  readonly rows: Row[];
  readonly resolve: (rows: readonly Row[]) => void;
  readonly reject: (error: Error) => void;
}

/** A PostgreSQL client with one connection, which it reopens after a failure. It sends one query at a time. */
export class Postgres {
  readonly #where: NetConnectOpts;
  #socket: Socket | undefined;
  #isReady = false;
  #waiting: Waiting[] = [];
  #failure: Error | undefined;
  #rest = Buffer.alloc(0);

  constructor(where: NetConnectOpts) {
    this.#where = where;
  }

  /** Runs SQL without parameters. @throws if the server reports an error, or does not answer in time */
  async query(sql: string): Promise<readonly Row[]> {
    this.#socket ??= this.#connect();
    const socket = this.#socket;
    const timer = setTimeout(() => socket.destroy(new Error('PostgreSQL does not answer')), TIMEOUT_MS);
    try {
      return await new Promise<readonly Row[]>((resolve, reject) => {
        this.#waiting.push({ sql, rows: [], resolve, reject });
        if (this.#isReady && this.#waiting.length === 1) this.#send();
      });
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#socket?.end(message('X', Buffer.alloc(0)));
  }

  #connect(): Socket {
    const socket = connect(this.#where);
    let why = new Error('PostgreSQL closed the connection');
    socket.once('connect', () => {
      const text = Buffer.from(`user\0${USER}\0database\0${DATABASE}\0\0`);
      const start = Buffer.alloc(8);
      start.writeUInt32BE(8 + text.length, 0);
      start.writeUInt32BE(VERSION, 4);
      socket.write(Buffer.concat([start, text]));
    });
    socket.on('data', (data: Buffer) => this.#hear(data));
    socket.once('error', (error) => {
      why = error;
    });
    socket.once('close', () => {
      this.#socket = undefined;
      this.#isReady = false;
      this.#rest = Buffer.alloc(0);
      for (const { reject } of this.#waiting.splice(0)) reject(why);
    });
    return socket;
  }

  #send(): void {
    const [first] = this.#waiting;
    if (first !== undefined) this.#socket?.write(message('Q', Buffer.from(`${first.sql}\0`)));
  }

  #hear(data: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, data]);
    while (this.#rest.length >= HEADER) {
      const length = 1 + this.#rest.readUInt32BE(1);
      if (this.#rest.length < length) return;
      const kind = String.fromCharCode(this.#rest[0] ?? 0);
      const body = this.#rest.subarray(HEADER, length);
      this.#rest = this.#rest.subarray(length);
      this.#take(kind, body);
    }
  }

  #take(kind: string, body: Buffer): void {
    if (kind === 'D') this.#waiting[0]?.rows.push(rowOf(body));
    else if (kind === 'E') this.#failure = new Error(body.toString('utf8').split('\0').join(' '));
    else if (kind === 'Z') this.#complete();
  }

  /** Called when the server is ready for the next query. */
  #complete(): void {
    const failure = this.#failure;
    this.#failure = undefined;
    if (this.#isReady) {
      const done = this.#waiting.shift();
      if (failure === undefined) done?.resolve(done.rows);
      else done?.reject(failure);
    }
    this.#isReady = true;
    this.#send();
  }
}

function message(kind: string, body: Buffer): Buffer {
  const header = Buffer.alloc(HEADER);
  header.write(kind, 0, 'latin1');
  header.writeUInt32BE(4 + body.length, 1);
  return Buffer.concat([header, body]);
}

function rowOf(body: Buffer): Row {
  const values: string[] = [];
  let at = 2;
  for (let left = body.readUInt16BE(0); left > 0; left--) {
    const length = body.readInt32BE(at);
    at += 4;
    values.push(length < 0 ? '' : body.toString('utf8', at, at + length));
    at += Math.max(0, length);
  }
  return values;
}
