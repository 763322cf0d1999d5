import { writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import type { AgentReport } from '#api/agent.ts';
import type { ConfigReport } from '#api/config.ts';
import type { ProbesReport } from '#api/probes.ts';
import type { Trouble } from '#api/trouble.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { complaintsOf, launchBrowser } from '../support/browser.ts';
import { run } from '../support/command.ts';
import { HostPair } from '../support/hosts.ts';
import { eventually } from '../support/oracle.ts';

/** Timeout for a step in the browser on a busy machine. */
const SLOW_MS = 60_000;
const PHONE = { width: 390, height: 844 };
const DESK = { width: 1280, height: 800 };
/** Markup that fits into a process name. */
const HOSTILE = '<img src=x:y>';
const TOKEN = 'a-token-of-the-test-0123456789';

vi.setConfig({ testTimeout: 3 * SLOW_MS, hookTimeout: 3 * SLOW_MS });

let pair: HostPair;
let scratch: Awaited<ReturnType<typeof mkdtempDisposable>>;
let config: string;
let agent: AgentProcess;
let browser: Browser;
let page: Page;
let complaints: string[];

async function serve(listen = '127.0.0.1:0'): Promise<AgentProcess> {
  return AgentProcess.serve(['--listen', listen, '--config', config, '--state', join(scratch.path, 'state')]);
}

beforeAll(async () => {
  scratch = await mkdtempDisposable(join(tmpdir(), 'page-'));
  config = join(scratch.path, 'config.yaml');
  writeFileSync(config, DEFAULTS);
  pair = await HostPair.create();
  const nft = (host: 'a' | 'b', rule: string) => run('ip', 'netns', 'exec', pair[host].netns.name, 'nft', rule);
  for (const [host, chain, hook, port] of [
    ['b', 'in', 'input', 7001],
    ['a', 'out', 'output', 7003],
  ] as const) {
    nft(host, 'add table inet t');
    nft(host, `add chain inet t ${chain} { type filter hook ${hook} priority 0; }`);
    nft(host, `add rule inet t ${chain} udp dport ${port} drop`);
  }
  [agent, browser] = await Promise.all([serve(), launchBrowser()]);
});

afterAll(async () => {
  await browser?.close();
  await agent?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
  await scratch?.remove();
});

beforeEach(async () => {
  page = await browser.newPage({ viewport: DESK });
  page.setDefaultTimeout(SLOW_MS);
  complaints = complaintsOf(page);
});

afterEach(async () => {
  expect(complaints).toEqual([]);
  await page.close();
});

/** Opens a tab of the page, and waits until it shows the agent's data. */
async function open(place: string): Promise<void> {
  await page.goto(`${agent.url}/${place}`);
  await page.getByText('live', { exact: true }).waitFor();
}

/** The default configuration, except that events with different client ports are not folded, because the tests look for each event. */
const DEFAULTS = 'events: { foldBy: connection }';

/** Opens the events of namespace b only, because other tests may cause more events than the page keeps. */
const openEvents = () => open(`#events?pod=${pair.b.netns.name}`);

/** Causes a dropped datagram in namespace b. @returns its source in the format of events */
async function drop(): Promise<string> {
  const source = await pair.a.udpSend({ address: pair.addressB.ipv4, port: 7001, count: 1, bytes: 9 });
  return `${pair.addressA.ipv4}:${source}`;
}

const rowOf = (text: string) => page.locator('table.events > tbody > tr', { hasText: text });

/** Browser script that records when the row of each event first appeared, by the event's time. */
const NOTE_ROWS = `{
  window.rowsMs = {};
  const note = () => {
    for (const { title } of document.querySelectorAll('button.row')) window.rowsMs[title] ??= Date.now();
  };
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true });
}`;

it('is small, compressed and cached, and loads nothing from elsewhere', async () => {
  const html = await agent.get('/');
  expect(html.headers.get('content-security-policy')).toContain("default-src 'none'; script-src 'self'");
  expect(html.headers.get('x-content-type-options')).toBe('nosniff');
  expect(html.headers.get('cache-control')).toBe('no-cache');
  const text = await html.text();
  const files = [...text.matchAll(/(?:href|src)="(\/[^"]+)"/g)].map(([, path = '']) => path);
  expect(files).toHaveLength(2);
  expect(text.replaceAll('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:|<script>|style=/);
  let bytes = 0;
  for (const path of ['/', ...files]) {
    const packed = await agent.get(path, { 'accept-encoding': 'gzip' });
    const plain = await agent.get(path);
    expect(packed.headers.get('content-encoding')).toBe('gzip');
    bytes += Number(packed.headers.get('content-length'));
    expect(await packed.text()).toBe(await plain.text());
    const etag = plain.headers.get('etag') ?? '';
    expect((await agent.get(path, { 'if-none-match': etag })).status, path).toBe(304);
    if (path !== '/') expect(plain.headers.get('cache-control')).toContain('immutable');
  }
  process.stdout.write(`the page: ${bytes} bytes, compressed\n`);
  expect(bytes).toBeLessThan(40 * 1024);
  for (const path of ['/web/index.html', '/web/..%2fmain.js', '/web/main-00000000.js', '/web/main.js']) {
    expect((await agent.get(path)).status, path).toBe(404);
  }
});

it('shows an event without reload, and all of its scene', async () => {
  await openEvents();
  await page.evaluate(NOTE_ROWS);
  await page.getByLabel('Text').focus();
  const delays: number[] = [];
  let src = '';
  for (let times = 0; times < 2; times++) {
    src = await drop();
    const time = (await rowOf(src).getByRole('button').getAttribute('title')) ?? '';
    const seen = (await page.evaluate('window.rowsMs')) as Record<string, number>;
    delays.push((seen[time] ?? Number.NaN) - Date.parse(time));
  }
  process.stdout.write(`events were on the page after ${delays.join(', ')} ms\n`);
  expect(Math.min(...delays)).toBeGreaterThanOrEqual(0);
  expect(await page.evaluate('document.activeElement.type')).toBe('search');
  const row = rowOf(src).getByRole('button');
  await row.press('Enter');
  expect(await row.getAttribute('aria-expanded')).toBe('true');
  const scene = await page.locator('.scene').innerText();
  expect(scene).toMatch(/A firewall rule refused the packet.*What to check: The firewall rules.*nft_do_chain/s);
  expect(scene).toContain(pair.b.netns.name);
  // While the table is paused, the open row stays in place.
  const later = await drop();
  await page.getByRole('button', { name: /Resume \(\d+ new\)/ }).click();
  await rowOf(later).waitFor();
  expect(await page.locator('.scene').count()).toBe(0);
});

it('filters events, and keeps the filter in the URL', async () => {
  const { name } = pair.b.netns;
  await openEvents();
  await rowOf(await drop()).waitFor();
  const rows = page.locator('button.row');
  await page.getByLabel('Pod', { exact: true }).fill('nobody');
  await page.getByText(/None of the \d+ events on this page match the filters/).waitFor();
  await page.getByLabel('Pod', { exact: true }).fill(name);
  await rows.first().waitFor();
  await page.getByLabel('Text').fill(`no ${name}`);
  await rows.first().waitFor({ state: 'detached' });
  await page.getByLabel('Text').fill(' NETFILTER_drop');
  await page.getByLabel('Type').selectOption('packet_drop');
  await page.getByLabel('Probe').selectOption('packetloss');
  await page.getByLabel('Severity').selectOption('warning');
  expect(await rows.count()).toBe(await rowOf(name).count());
  expect(new URL(page.url()).hash).toBe(
    `#events?pod=${name}&text=+NETFILTER_drop&type=packet_drop&probe=packetloss&severity=warning`,
  );
  await page.reload();
  await rowOf(await drop()).waitFor();
  expect(await rows.count()).toBe(await rowOf(name).count());
  expect(await page.getByLabel('Type').inputValue()).toBe('packet_drop');
  // Visiting another tab must not change the filters of the event tab.
  await page.getByRole('link', { name: 'Probes' }).click();
  await page.getByRole('link', { name: 'Events' }).click();
  expect(await page.getByLabel('Type').inputValue()).toBe('packet_drop');
});

it('treats the name of a process as text', async () => {
  await open(`#events?text=${encodeURIComponent(HOSTILE)}`);
  pair.a.netns.python(`
import ctypes, socket
ctypes.CDLL(None).prctl(15, b'${HOSTILE}')
try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('${pair.addressB.ipv4}', 7003))
except PermissionError: pass
`);
  const row = rowOf(`${pair.addressB.ipv4}:7003`).first();
  await row.getByRole('button').click();
  expect(await page.locator('.scene').innerText()).toContain(HOSTILE);
  expect(await page.locator('img').count()).toBe(0);
});

/**
 * Applies the default configuration and waits until it is in effect, because a probe that was reopened has no rates for
 * one or two readings.
 */
async function useDefaults(): Promise<void> {
  const { generation } = await agent.json<ConfigReport>('/api/v1/config');
  writeFileSync(config, DEFAULTS);
  await eventually(async () => {
    const report = await agent.json<ConfigReport>('/api/v1/config');
    expect(report).toMatchObject({ successful: true });
    expect(report.generation).toBeGreaterThan(generation);
    const { probes } = await agent.json<ProbesReport>('/api/v1/probes');
    expect(probes.find(({ name }) => name === 'packetloss')?.state).toBe('running');
    expect(probes.find(({ name }) => name === 'softirq')?.state).toBe('stopped');
  }, SLOW_MS);
}

it('shows what the configuration switches, for how long, and why a configuration is rejected', async () => {
  await open('#probes');
  const row = page.locator('table.probes tr', { hasText: 'softirq' });
  expect(await row.locator('.state').innerText()).toBe('off');
  writeFileSync(config, 'probes: { softirq: { enabled: true, for: 90s }, packetloss: { budget: 50% } }');
  await row.getByText('running', { exact: true }).waitFor();
  const left = async () => {
    const [, minutes = 0, seconds] = /reverts in (?:(\d+) min ?)?(?:(\d+) s)?/.exec(await row.innerText()) ?? [];
    return 60 * Number(minutes) + Number(seconds ?? 0);
  };
  const before = await left();
  expect(before).toBeGreaterThan(60);
  expect(before).toBeLessThanOrEqual(90);
  // The budget makes the agent reopen this probe, so it may take longer than the other one.
  const measured = page.locator('table.probes tr', { hasText: 'packetloss' }).filter({ hasText: /of a CPU|measuring/ });
  await measured.waitFor();
  writeFileSync(config, 'probes: { softirq: { for: 15x }, packetlos: true }');
  await page.getByRole('link', { name: 'Configuration' }).click();
  await page.getByRole('heading', { name: 'The last configuration was rejected' }).waitFor();
  const faults = await page.locator('table.faults').innerText();
  expect(faults).toMatch(/probes\.softirq\.for\s+"15x"\s+a duration from 1s to 8760h/);
  expect(faults).toMatch(/probes\.packetlos\s+–\s+unknown key \(did you mean packetloss\?\)/);
  expect(await page.locator('.document').innerText()).toMatch(/packetloss:\n(.*\n)*? +budget: 50%/);
  expect(await page.getByRole('link', { name: 'Configuration rejected' }).count()).toBe(1);
  await page.getByRole('link', { name: 'Probes' }).click();
  await eventually(async () => expect(await left()).toBeLessThan(before), SLOW_MS);
  expect(await left()).toBeGreaterThan(0);
  await useDefaults();
});

it('shows the account of all events, and the Pods in trouble', async () => {
  await open('#ledger');
  const row = page.locator('table.ledger tr', { hasText: 'packetloss' });
  // Other tests may cause events, so some may be pending at any time.
  await row.getByText(/balances|in transit/).waitFor();
  expect(await row.getByText('stdout').count()).toBe(1);
  await page.getByRole('link', { name: 'Pods' }).click();
  await page.getByText('Rates need two readings').waitFor();
  await page.getByLabel('Pod', { exact: true }).fill(pair.b.netns.name);
  const cells = page.locator('table.pods tbody tr', { hasText: pair.b.netns.name });
  // The page has shown the first reading, so later drops are part of a rate.
  await cells.waitFor();
  expect(await cells.count()).toBe(1);
  // This number exceeds the alert's threshold even if the page averages over its longest window and step.
  const lost = 2_000;
  await pair.a.udpSend({ address: pair.addressB.ipv4, port: 7001, count: lost, bytes: 9 });
  await page.getByText(/Rates are averages over the last \d+ s/).waitFor();
  await cells.locator('[data-label="Drops/s"].grade-alert').waitFor();
  const { metrics, entities } = await agent.json<Trouble>('/api/v1/trouble');
  const { values = [] } = entities.find(({ pod }) => pod === pair.b.netns.name) ?? {};
  expect(values[metrics.indexOf('netsonde_packet_drops_total')]).toBeGreaterThanOrEqual(lost);
});

it('does not scroll sideways on a phone', async () => {
  await page.setViewportSize(PHONE);
  writeFileSync(config, 'probes: { packetlos: true, softirq: { for: 15x } }');
  for (const tab of ['events', 'pods', 'probes', 'ledger', 'configuration']) {
    await open(`#${tab}`);
    await page
      .locator(tab === 'configuration' ? '.faults' : `main table`)
      .first()
      .waitFor();
    if (tab === 'events') await page.locator('button.row').first().click();
    expect(await page.evaluate('document.documentElement.scrollWidth'), tab).toBe(PHONE.width);
  }
  await useDefaults();
});

it('recovers by itself when the agent was unreachable, or restarted', async () => {
  await openEvents();
  const old = await drop();
  await rowOf(old).waitFor();
  await page.context().setOffline(true);
  await page.getByText(/agent not reachable; data below is from \d\d:\d\d:\d\d/).waitFor();
  const unseen = await drop();
  await page.context().setOffline(false);
  await rowOf(unseen).waitFor();
  expect([await rowOf(unseen).count(), await rowOf(old).count()]).toEqual([1, 1]);
  const { host } = new URL(agent.url ?? '');
  const unanswered: Promise<string>[] = [];
  page.on('response', (response) => {
    if (response.status() === 503) unanswered.push(response.text());
  });
  await agent[Symbol.asyncDispose]();
  await page.getByText('agent not reachable').waitFor();
  agent = await serve(host);
  await page.getByText('live', { exact: true }).waitFor();
  const { version } = await agent.json<AgentReport>('/api/v1/agent');
  expect(await page.locator('header').innerText()).toContain(version);
  const src = await drop();
  await rowOf(src).waitFor();
  expect([await rowOf(src).count(), await rowOf(old).count()]).toEqual([1, 1]);
  // Requests may fail only until the new agent's kernel thread has started.
  expect((await Promise.all(unanswered)).filter((text) => !text.includes('the kernel thread'))).toEqual([]);
  // Chromium logs each request without a response or with a 503 response.
  expect(complaints.filter((text) => !/net::ERR_|status of 503/.test(text))).toEqual([]);
  complaints.length = 0;
});

it('shows what to do if the agent does not answer it', async () => {
  const { port } = new URL(agent.url ?? '');
  await page.goto(`http://page.localhost:${port}/`);
  await page.getByText('is served under the names localhost, 127.0.0.1 and [::1], not page.localhost').waitFor();
  await page.getByText('kubectl -n netsonde port-forward').waitFor();
  expect(await page.getByLabel('Token').count()).toBe(0);
  expect(complaints.filter((text) => !text.includes('status of 403'))).toEqual([]);
  complaints.length = 0;
});

it('takes a token on another machine, and forgets it with the tab', async () => {
  const tokenFile = join(scratch.path, 'token');
  writeFileSync(tokenFile, TOKEN);
  const listen = ['--listen', `${pair.addressB.ipv4}:9102`, '--api-token-file', tokenFile];
  await using cleanup = new AsyncDisposableStack();
  const [closed, elsewhere] = await Promise.all([
    AgentProcess.serve(listen, ['ip', 'netns', 'exec', pair.b.netns.name]).then((started) => cleanup.use(started)),
    launchBrowser({ netns: pair.a.netns.name, folder: scratch.path }).then((started) => cleanup.use(started)),
  ]);
  const remote = await elsewhere.newPage({ viewport: PHONE });
  const heard = complaintsOf(remote);
  await remote.goto(`${closed.url}/`);
  await remote.getByLabel('Token').fill('another-token-0123456789');
  await remote.getByRole('button', { name: 'Open' }).click();
  await remote.getByText('The token is wrong.').waitFor();
  expect(await remote.evaluate('document.documentElement.scrollWidth')).toBe(PHONE.width);
  await remote.getByLabel('Token').fill(TOKEN);
  await remote.getByLabel('Token').press('Enter');
  await remote.getByText('live', { exact: true }).waitFor();
  await remote.reload();
  await remote.getByText('live', { exact: true }).waitFor();
  expect(await remote.evaluate('[localStorage.length, document.cookie]')).toEqual([0, '']);
  expect(heard.filter((text) => !text.includes('status of 401'))).toEqual([]);
});
