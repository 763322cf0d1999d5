import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { FlowSums } from './flow_sums.ts';

const PROGRAM = fileURLToPath(new URL('./flow_traffic/main.py', import.meta.url));

/** A listener, as defined in flow_traffic/connections.py. */
export interface ListenerOptions {
  readonly name: string;
  readonly netns: string;
  readonly bind: string;
  readonly port: number;
  readonly reach: string;
  readonly backlog?: number;
  readonly sockets?: number;
  readonly fastopen?: number;
  readonly mptcp?: boolean;
  readonly defer?: boolean;
}

/** Clients and their targets, as defined in flow_traffic/connections.py. */
export interface RouteOptions {
  readonly name: string;
  readonly netns: string;
  readonly sources: readonly string[];
  readonly listeners: readonly string[];
  readonly mapped?: boolean;
  readonly spare_ports: readonly [low: number, high: number];
  readonly refused?: readonly [address: string, port: number];
  readonly silent?: readonly [address: string, port: number];
  readonly unreachable?: readonly [address: string, port: number];
  readonly no_route?: readonly [address: string, port: number];
}

/** The functions that flow_traffic/main.py provides. */
interface Calls {
  listen: { args: ListenerOptions; result: boolean };
  route: { args: RouteOptions; result: null };
  play: {
    args: { mix: readonly (readonly [kind: string, route: string, weight: number])[]; count: number; parallel: number };
    result: null;
  };
  close_all: { args: Record<string, never>; result: null };
  rest: { args: { sockets: Readonly<Record<string, number>> }; result: null };
  tell: { args: Record<string, never>; result: FlowSums };
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** A process that generates known traffic. */
export class FlowWorker implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #gone: Promise<unknown>;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;

  constructor(seed: string) {
    this.#child = spawn('python3', ['-B', PROGRAM, seed], { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#receive(line));
    this.#gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.once('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the generator of traffic has ended'));
    });
  }

  call<C extends keyof Calls>(call: C, args: Calls[C]['args']): Promise<Calls[C]['result']> {
    const id = this.#nextId++;
    const response = new Promise<unknown>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#child.stdin.write(`${JSON.stringify({ id, call, args })}\n`);
    return response as Promise<Calls[C]['result']>;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#gone;
  }

  #receive(line: string): void {
    const { id, result, error } = JSON.parse(line) as { id: number; result?: unknown; error?: string };
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(new Error(error));
  }
}
