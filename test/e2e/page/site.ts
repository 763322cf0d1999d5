import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Locator, Page } from 'playwright-core';
import { expect } from 'vitest';
import type { ConfigReport } from '#api/config.ts';
import type { ProbesReport } from '#api/probes.ts';
import { AgentProcess } from '../../support/agent_process.ts';
import { complaintsOf, launchBrowser } from '../../support/browser.ts';
import { run } from '../../support/command.ts';
import { HostPair } from '../../support/hosts.ts';
import { eventually } from '../../support/oracle.ts';

/** Timeout for a step in the browser on a busy machine. */
export const SLOW_MS = 60_000;
export const PHONE = { width: 390, height: 844 };
export const DESK = { width: 1280, height: 800 };

/**
 * Events with different client ports are not folded, because the tests look for each event. The history has room for
 * those of the namespaces of other tests, each of which has an equal share.
 */
const EVENTS = { foldBy: 'connection', history: 10_000 };
/** The default configuration, except for the events. */
const DEFAULTS = JSON.stringify({ events: EVENTS });

/** States of probes by name. */
type States = Readonly<Record<string, string>>;

/** An agent, two hosts with traffic, and a browser, shared by all tests of the page. Each test has its own tab. */
export class PageSite {
  #pair: HostPair | undefined;
  #scratch: Awaited<ReturnType<typeof mkdtempDisposable>> | undefined;
  #browser: Browser | undefined;
  #agent: AgentProcess | undefined;
  #page: Page | undefined;
  /** Console errors and uncaught exceptions of the tab. Must be empty at the end of a test. */
  complaints: string[] = [];

  async start(): Promise<void> {
    this.#scratch = await mkdtempDisposable(join(tmpdir(), 'page-'));
    writeFileSync(this.config, DEFAULTS);
    const pair = await HostPair.create();
    this.#pair = pair;
    const nft = (host: 'a' | 'b', rule: string) => run('ip', 'netns', 'exec', pair[host].netns.name, 'nft', rule);
    for (const [host, chain, hook, port] of [
      ['b', 'in', 'input', 7001],
      ['a', 'out', 'output', 7003],
    ] as const) {
      nft(host, 'add table inet t');
      nft(host, `add chain inet t ${chain} { type filter hook ${hook} priority 0; }`);
      nft(host, `add rule inet t ${chain} udp dport ${port} drop`);
    }
    const [browser] = await Promise.all([launchBrowser(), this.serve()]);
    this.#browser = browser;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser?.close();
    await this.#agent?.[Symbol.asyncDispose]();
    await this.#pair?.[Symbol.asyncDispose]();
    await this.#scratch?.remove();
  }

  async newPage(): Promise<void> {
    this.#page = await this.#browser?.newPage({ viewport: DESK });
    this.page.setDefaultTimeout(SLOW_MS);
    this.complaints = complaintsOf(this.page);
  }

  get page(): Page {
    return started(this.#page);
  }

  get agent(): AgentProcess {
    return started(this.#agent);
  }

  get pair(): HostPair {
    return started(this.#pair);
  }

  /** Directory for files of the tests. */
  get folder(): string {
    return started(this.#scratch).path;
  }

  /** Path of the configuration that the agent follows. */
  get config(): string {
    return join(this.folder, 'config.yaml');
  }

  /** Starts the agent. */
  async serve(listen = '127.0.0.1:0'): Promise<void> {
    const state = join(this.folder, 'state');
    this.#agent = await AgentProcess.serve(['--listen', listen, '--config', this.config, '--state', state]);
  }

  /** Opens a tab of the page, and waits until it shows the agent's data. */
  async open(place: string): Promise<void> {
    await this.page.goto(`${this.agent.url}/${place}`);
    await this.page.getByText('live', { exact: true }).waitFor();
  }

  /** Opens the events of namespace b only, because other tests may cause more events than the page keeps. */
  openEvents(): Promise<void> {
    return this.open(`#events?pod=${this.pair.b.netns.name}`);
  }

  /** Causes a dropped datagram in namespace b. @returns its source in the format of events */
  async drop(): Promise<string> {
    const { a, addressA, addressB } = this.pair;
    const source = await a.udpSend({ address: addressB.ipv4, port: 7001, count: 1, bytes: 9 });
    return `${addressA.ipv4}:${source}`;
  }

  /** Returns the rows of events that contain a text. */
  rowOf(text: string): Locator {
    return this.page.locator('table.events > tbody > tr', { hasText: text });
  }

  /** Applies a configuration, and waits until it is in effect and the probes have reached these states. */
  async configure(text: string, states: States): Promise<void> {
    const { agent } = this;
    const { generation } = await agent.json<ConfigReport>('/api/v1/config');
    // The generation of an unchanged configuration does not increase.
    const least = readFileSync(this.config, 'utf8') === text ? generation : generation + 1;
    writeFileSync(this.config, text);
    await eventually(async () => {
      const report = await agent.json<ConfigReport>('/api/v1/config');
      expect(report).toMatchObject({ successful: true });
      expect(report.generation).toBeGreaterThanOrEqual(least);
      const { probes } = await agent.json<ProbesReport>('/api/v1/probes');
      expect(Object.fromEntries(probes.map(({ name, state }) => [name, state]))).toMatchObject(states);
    }, SLOW_MS);
  }

  /**
   * Applies the default configuration, and waits for the probes. A probe that was reopened has no rates until it has
   * been read once or twice.
   */
  useDefaults(): Promise<void> {
    return this.configure(DEFAULTS, { packetloss: 'running', softirq: 'stopped' });
  }

  /** Enables the probe `flow`, and waits for its first collection. Until then, the API responds with an error. */
  async useFlows(): Promise<void> {
    // Edges of other tests would fill the list of what to look at first.
    const pods = { names: [this.pair.a, this.pair.b].map(({ netns }) => netns.name) };
    const flow = { enabled: true, records: { perPod: '1000/s' }, pods };
    // Other tests may use up the rows of namespaces without an owner, which degrades the probe.
    await this.configure(JSON.stringify({ events: EVENTS, probes: { flow } }), {
      flow: expect.stringMatching(/^(?:running|degraded)$/),
    });
    await eventually(async () => expect((await this.agent.get('/api/v1/flows')).status).toBe(200), SLOW_MS);
  }
}

function started<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the site has not been started');
  return value;
}
