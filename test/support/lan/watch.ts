import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { EventRecord } from '#api/events.ts';
import { AgentProcess } from '../agent_process.ts';
import type { Lan } from './lan.ts';

const POLL_MS = 10_000;

/** The default probes, with the additional metrics that the test needs. */
const PROBES = { packetloss: { detail: 'full' }, tcpext: { detail: 'full' } };

interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly last: number;
  readonly grown: number;
}

/**
 * A bundled agent, with the warnings and counters that it reports for the namespaces of a LAN. The warnings are read
 * from its event file, and the counters from its page.
 */
export class Watch implements AsyncDisposable {
  readonly agent: AgentProcess;
  readonly #file: string;
  /** Increase of each series, including those of removed namespaces. */
  readonly #series = new Map<string, Series>();
  readonly #ending = new AbortController();
  #polling: Promise<void> = Promise.resolve();
  #lan: Lan | undefined;

  private constructor(agent: AgentProcess, file: string) {
    this.agent = agent;
    this.#file = file;
  }

  /** @param folder directory for the configuration and the event file */
  static async start(folder: string): Promise<Watch> {
    const [file, config] = [join(folder, 'events.jsonl'), join(folder, 'netsonde.yaml')];
    writeFileSync(config, JSON.stringify({ probes: PROBES, sinks: { file: { path: file } } }));
    return new Watch(await AgentProcess.serve(['--config', config, '--state', join(folder, 'state')]), file);
  }

  /** Sets the LAN to watch. */
  follow(lan: Lan): void {
    this.#lan = lan;
    this.#polling = this.#poll();
  }

  /** Warnings from the LAN, including warnings whose namespace is unknown to the agent. */
  get warnings(): EventRecord[] {
    const lines = readFileSync(this.#file, 'utf8').split('\n').slice(0, -1);
    return lines
      .map((line) => JSON.parse(line) as EventRecord)
      .filter(({ severity }) => severity !== 'info')
      .filter((event) => this.#isOurs(event));
  }

  /** Returns the nonzero sums of a counter over the LAN's namespaces by one label. */
  totals(metric: string, label: string): Record<string, number> {
    const sums: Record<string, number> = {};
    for (const { name, labels, grown: value } of this.#series.values()) {
      if (name !== metric || value === 0) continue;
      const key = labels[label] ?? '';
      sums[key] = (sums[key] ?? 0) + value;
    }
    return sums;
  }

  /** Reads the page. */
  async read(): Promise<void> {
    for (const { name, labels, value } of (await this.agent.page()).samples) {
      if (!this.#isName(labels['pod'])) continue;
      const key = `${name} ${JSON.stringify(labels)}`;
      const { last, grown } = this.#series.get(key) ?? { last: 0, grown: 0 };
      const now = Number(value);
      // Counters in BPF maps restart from zero if the agent replaces its kernel thread.
      this.#series.set(key, { name, labels, last: now, grown: grown + (now < last ? now : now - last) });
    }
  }

  #isName(pod: string | null | undefined): boolean {
    return this.#lan !== undefined && pod?.startsWith(`${this.#lan.prefix}-`) === true;
  }

  /** Returns whether an event belongs to the LAN. An event with a wrong namespace is recognised by its addresses. */
  #isOurs({ pod, src = '', dst = '' }: EventRecord): boolean {
    const { subnet, subnet6 } = this.#lan ?? { subnet: '-', subnet6: '-' };
    const isInside = (end: string) =>
      end.startsWith(`${subnet}.`) || end.startsWith(`[${subnet6}:`) || end.startsWith(`${subnet6}:`);
    return this.#isName(pod) || isInside(src) || isInside(dst);
  }

  async #poll(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      await this.read();
      await wait(POLL_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#polling;
    await this.agent[Symbol.asyncDispose]();
  }
}
