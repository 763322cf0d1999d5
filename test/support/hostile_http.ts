import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setImmediate as immediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { http } from '#probes/http/http.ts';
import { sampleValue } from './exposition.ts';
import { HostPair } from './hosts.ts';
import { type Answers, loadHttp, WebServer } from './http_traffic.ts';
import { only, TestKernel } from './kernel.ts';
import { eventually } from './oracle.ts';

const PROGRAM = fileURLToPath(new URL('./hostile_http.py', import.meta.url));
const [PORT, DEFERRED_PORT, HOSTILE_PORT] = [8_080, 8_081, 8_099];
const HEADER_BYTES = 64 * 1024;
const LOAD = { count: 400, depth: 4, connections: 8 } as const;

/**
 * Checks that the counts of two namespaces are exact while another one opens connections with long headers.
 * @param connections number of hostile connections
 * @param seconds time after which no more of them are opened
 * @return number of hostile connections that were opened for each second
 */
export async function expectOthersExact(connections: number, seconds: number): Promise<number> {
  await using stack = new AsyncDisposableStack();
  const pair = stack.use(await HostPair.create());
  const hostile = stack.use(await HostPair.create());
  const agent = stack.use(await TestKernel.open(only({ http: { enabled: true, events: false } }, { detail: 'full' })));
  const server = stack.use(await WebServer.start(pair.b.netns, PORT, DEFERRED_PORT));
  const target = hostile.addressB.ipv4;
  const victim = spawn(
    'ip',
    ['netns', 'exec', hostile.b.netns.name, 'python3', PROGRAM, 'serve', target, String(HOSTILE_PORT)],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  stack.defer(() => void victim.stdin.end());
  await once(victim.stdout, 'data');
  const args = [PROGRAM, 'send', target, HOSTILE_PORT, HEADER_BYTES, connections, seconds].map(String);
  const attack = spawn('ip', ['netns', 'exec', hostile.a.netns.name, 'python3', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  stack.defer(() => void attack.kill());
  let opened = '';
  attack.stdout.on('data', (text) => {
    opened += text;
  });
  const startMs = performance.now();
  const over = once(attack, 'exit').then(() => (performance.now() - startMs) / 1_000);
  const answers: Record<string, number> = {};
  const add = (counts: Answers) => {
    for (const [key, count] of Object.entries(counts)) answers[key] = (answers[key] ?? 0) + count;
  };
  do {
    add(loadHttp(pair.a.netns, pair.addressB.ipv4, PORT, LOAD));
    // The end of the process is noticed only between two loads.
    await immediate();
  } while (attack.exitCode === null && attack.signalCode === null);
  const rate = Number(opened) / (await over);
  expect(Number(opened)).toBeGreaterThan(0);
  await eventually(() => expect(server.log()).toEqual(answers));
  const { requests, responses } = http.metrics;
  await eventually(async () => {
    const page = await agent.page();
    for (const [pod, role] of [
      [pair.a.netns.name, 'client'],
      [pair.b.netns.name, 'server'],
    ]) {
      const samples = (page.named.get(responses.name) ?? []).filter(
        ({ labels }) => labels['pod'] === pod && labels['role'] === role,
      );
      const counted = Object.fromEntries(
        samples.map(({ labels, value }) => [`${labels['method']} ${labels['code']}`, Number(value)]),
      );
      expect(counted, role).toEqual(answers);
    }
    // Each hostile request ends without a response, or, if its connection was reset at once, is not counted.
    const labels = { pod: hostile.a.netns.name, role: 'client', version: '1', status: 'none' };
    const ended = Number(sampleValue(page, requests.name, labels) ?? 0);
    expect(ended).toBeGreaterThan(0);
    expect(ended).toBeLessThanOrEqual(Number(opened));
  });
  return rate;
}
