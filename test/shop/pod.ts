import type { ChildProcess } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { eventually } from '../support/oracle.ts';
import type { Answer, Order } from './apps/runtime.ts';
import type { Cgroup } from './cgroup.ts';
import type { Machine } from './machine.ts';
import { addNamespace } from './network.ts';

const START_MS = 60_000;
const REPORT_MS = 2_000;
/** Maximum number of characters to keep of a program's output. */
const OUTPUT_MAX = 20_000;

export type Report = Extract<Answer, { report: number }>;

export interface PodGiven {
  readonly namespace: string;
  readonly name: string;
  readonly ip: string;
  /** Address of the machine on which the Pod runs. */
  readonly hostIp: string;
  readonly machine: Machine;
  /** Parent of the Pod's cgroup. */
  readonly cgroup: Cgroup;
  readonly resolver: string;
}

/** A program that runs in a Pod or on a host outside of the cluster. */
export class Pod {
  readonly uid = randomUUID();
  readonly given: PodGiven;
  /** Name of the network namespace, in the form that containerd uses. */
  readonly netns = `cni-${randomUUID()}`;
  readonly #pod: Cgroup;
  readonly #container: Cgroup;
  #child: ChildProcess | undefined;
  #hasEnded = false;
  output = '';
  /** Totals that the program reported most recently. */
  report: Report | undefined;
  /** Called with each line of output that is not a response. */
  heard: (line: string) => void = () => undefined;
  #reports = 0;

  constructor(given: PodGiven) {
    this.given = given;
    this.#pod = given.cgroup.below(`pod${this.uid}`);
    this.#container = this.#pod.below(randomBytes(32).toString('hex'));
  }

  /** Returns a shell script that creates the network namespace. */
  get networkScript(): string {
    return addNamespace(this.netns, this.given.ip, this.given.hostIp);
  }

  /**
   * Starts a program, and waits until it is ready. @param ready matches the output of a program that is ready, or
   * returns whether it is ready; by default, matches the message that the shop's programs print
   */
  async start(
    command: readonly string[],
    ready: RegExp | (() => boolean) = /"ready":true/,
    env: NodeJS.ProcessEnv = {},
  ): Promise<void> {
    const { machine, resolver, name } = this.given;
    const child = machine.launch({ command, cgroup: this.#container, netns: this.netns, resolver, env });
    this.#child = child;
    for (const input of [child.stdout, child.stderr]) {
      if (input !== null) createInterface({ input }).on('line', (line) => this.#hear(line));
    }
    child.once('exit', () => {
      this.#hasEnded = true;
    });
    await eventually(() => {
      const is = typeof ready === 'function' ? ready() : ready.test(this.output);
      if (!is && !this.#hasEnded) throw new Error(`${name} is not ready: ${this.output}`);
    }, START_MS);
    if (this.#hasEnded) throw new Error(`${name} has ended: ${this.output}`);
  }

  order(order: Order): void {
    this.#child?.stdin?.write(`${JSON.stringify(order)}\n`);
  }

  /** Requests the program's totals. Returns the previous ones if the program does not respond in time. */
  async askReport(): Promise<{ readonly report: Report | undefined; readonly isCurrent: boolean }> {
    const number = ++this.#reports;
    this.order({ report: number });
    const isCurrent = await eventually(() => {
      if (this.report?.report !== number) throw new Error('no report');
      return true;
    }, REPORT_MS).catch(() => false);
    return { report: this.report, isCurrent };
  }

  /** Freezes or thaws all processes. */
  freeze(isFrozen: boolean): void {
    this.#container.freeze(isFrozen);
  }

  /** Ends the program, and removes its namespace and cgroup. */
  async remove(): Promise<void> {
    await this.#pod.remove();
    await this.given.machine.run(`ip netns del ${this.netns}`);
  }

  #hear(line: string): void {
    if (line.startsWith('{"report":')) this.report = JSON.parse(line) as Report;
    else {
      this.output = `${this.output}${line}\n`.slice(-OUTPUT_MAX);
      this.heard(line);
    }
  }
}
