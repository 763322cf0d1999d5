import { spawn } from 'node:child_process';
import {
  closeSync,
  cpSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { AgentProcess } from '../support/agent_process.ts';
import { sh } from '../support/command.ts';
import { sampleValue } from '../support/exposition.ts';
import { eventually } from '../support/oracle.ts';

const FIXTURES = fileURLToPath(new URL('../fixtures', import.meta.url));
const POD = { pod: '3f2a9c1e-7d54-4b0e-9a6b-0c1d2e3f4a5b', device: 'eth0' };

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hang-'));
  cpSync(FIXTURES, directory, { recursive: true, verbatimSymlinks: true });
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

function serve(): Promise<AgentProcess> {
  return AgentProcess.serve(['--proc', join(directory, 'proc'), '--sys', join(directory, 'sys'), '--netns', directory]);
}

const file = () => join(directory, 'proc/1201/net/dev');

/** Replaces the file with a pipe that has no writer, so every read hangs. */
function makeHang(): string {
  const text = readFileSync(file(), 'utf8');
  unlinkSync(file());
  sh(`mkfifo ${file()}`);
  return text;
}

/** Ends all hanging reads. */
function release(path: string): void {
  closeSync(openSync(path, 'r+'));
}

it('a kernel thread that hangs is replaced; the last good page is served with its age meanwhile', async () => {
  await using agent = await serve();
  const good = await agent.page();
  expect(sampleValue(good, 'netsonde_netdev_received_packets_total', POD)).toBe(200);

  const text = makeHang();
  const hung = agent.get('/metrics', { 'x-prometheus-scrape-timeout-seconds': '3' });
  const stale = await hung;
  expect(stale.status).toBe(200);
  expect(Number(stale.headers.get('age'))).toBeGreaterThanOrEqual(1);
  const body = await stale.text();
  expect(body).toContain(`netsonde_netdev_received_packets_total{namespace="",pod="${POD.pod}",device="eth0"} 200`);
  expect(Number(/^netsonde_page_age_seconds (\S+)$/m.exec(body)?.[1])).toBeGreaterThan(1);
  expect((await agent.get('/healthz')).status).toBe(200);
  expect((await agent.get('/api/v1/probes')).status).toBe(503);

  // New kernel threads cannot start while this directory is missing.
  sh(`mv ${directory}/sys ${directory}/sys.away`);
  await eventually(() => {
    expect(agent.stderr.match(/the kernel thread could not be started: .*no list of CPUs/g)?.length).toBeGreaterThan(3);
  });
  expect((await agent.get('/metrics')).status).toBe(200);
  expect((await agent.get('/healthz')).status).toBe(200);

  const fifo = `${file()}.fifo`;
  sh(`mv ${file()} ${fifo}`);
  writeFileSync(file(), text.replace(' 200 11 2 ', ' 205 11 2 '));
  sh(`mv ${directory}/sys.away ${directory}/sys`);
  await eventually(async () => {
    const page = await agent.page();
    expect(sampleValue(page, 'netsonde_page_age_seconds', {})).toBe(0);
    expect(sampleValue(page, 'netsonde_netdev_received_packets_total', POD)).toBe(205);
    expect(sampleValue(page, 'netsonde_kernel_thread_restarts_total', {})).toBeGreaterThan(3);
    expect(sampleValue(page, 'netsonde_kernel_threads_stuck', {})).toBe(1);
  });
  expect(agent.stderr).toMatch(/replacing the kernel thread, which did not respond for \d+ ms/);
  release(fifo);
  await eventually(async () => {
    expect(sampleValue(await agent.page(), 'netsonde_kernel_threads_stuck', {})).toBe(0);
  });
});

it('the agent ends on SIGTERM although a thread hangs', async () => {
  await using agent = await serve();
  await agent.page();
  makeHang();
  const scrape = agent.get('/metrics', { 'x-prometheus-scrape-timeout-seconds': '1' });
  await (await scrape).text();
  agent.signal('SIGTERM');
  expect(await agent.exited).toEqual({ code: 0, signal: null });
  expect(agent.stderr).toContain('the kernel thread did not close');
});

it('a process that vanishes between the list and the read causes no error', async () => {
  await using agent = await serve();
  // Some of the files have a malformed line, which counts as an error at each scrape.
  const errors = async () => {
    const { samples } = await agent.page();
    return samples.filter(({ name }) => name === 'netsonde_source_errors_total').map(({ value }) => Number(value));
  };
  const [first, second] = [await errors(), await errors()];
  rmSync(join(directory, 'proc/1300'), { recursive: true });
  const page = await agent.page();
  expect(
    sampleValue(page, 'netsonde_netdev_received_packets_total', { pod: 'facade222222', device: 'eth0' }),
  ).toBeUndefined();
  expect(sampleValue(page, 'netsonde_netdev_received_packets_total', POD)).toBe(200);
  expect(sampleValue(page, 'netsonde_probe_collect_failures_total', { probe: 'netdev' })).toBe(0);
  const growth = second.map((count, index) => count - (first[index] ?? 0));
  expect(await errors()).toEqual(second.map((count, index) => count + 2 * (growth[index] ?? 0)));
});

/** Pins a thread of a process to a CPU on which another process gets nearly all time, and its main thread to another. */
async function starve(pid: number, tid: string, ms: number): Promise<void> {
  const last = availableParallelism() - 1;
  const command = ['-n', '-20', 'taskset', '-c', '0', 'sh', '-c', 'while :; do :; done'];
  sh(`taskset -cp ${last} ${pid}`);
  sh(`taskset -cp 0 ${tid}`);
  sh(`chrt -i -p 0 ${tid}`);
  const loop = spawn('nice', command, { stdio: 'ignore' });
  await wait(ms);
  loop.kill('SIGKILL');
}

it('a kernel thread that waits for a CPU is not replaced', async () => {
  await using agent = await serve();
  const tasks = `/proc/${agent.pid}/task`;
  const thread = readdirSync(tasks).find((tid) => readFileSync(join(tasks, tid, 'comm'), 'utf8') === 'kernel\n');
  const before = sampleValue(await agent.page(), 'netsonde_netdev_received_packets_total', POD);
  // A thread that does not respond is replaced after five seconds.
  const starving = starve(agent.pid, thread ?? '', 10_000);
  const pages = Array.from({ length: 10 }, () => agent.get('/metrics').then(({ status }) => status));
  await starving;
  expect(new Set(await Promise.all(pages))).toEqual(new Set([200]));
  await eventually(async () => {
    const page = await agent.page();
    expect(sampleValue(page, 'netsonde_page_age_seconds', {})).toBe(0);
    expect(sampleValue(page, 'netsonde_netdev_received_packets_total', POD)).toBe(before);
    expect(sampleValue(page, 'netsonde_kernel_thread_restarts_total', {})).toBe(0);
  });
});
