import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { dns } from '#probes/dns/dns.ts';
import { http } from '#probes/http/http.ts';
import { type Dialogue, Speakers } from './dialogue.ts';
import type { Exposition } from './exposition.ts';
import { HostPair } from './hosts.ts';
import { only, TestKernel } from './kernel.ts';
import { eventually } from './oracle.ts';

const PROGRAM = fileURLToPath(new URL('./lookalikes.py', import.meta.url));
/** First segments of clients that curl, psql, redis-cli, ssh, git and openssl of Debian 12 sent to a recording server. */
const SEGMENTS = fileURLToPath(new URL('../fixtures/requests/first_segments.json', import.meta.url));
/**
 * First segments of conversations with servers of Debian 12, by protocol. A proxy on the loopback device has recorded
 * at most 512 bytes of each read of a connection.
 */
const CONVERSATIONS = new URL('../fixtures/requests/conversations.json', import.meta.url);
const SPEAKERS_PORT = 9_100;
/** Several ports, so that there are enough pairs of ports. The first one is that of DNS. */
const PORTS = [53, 6_379, 8_080, 9_000];

const { connections } = http.metrics;
/** Metrics that count requests, queries, or their answers. */
const COUNTED = [
  http.metrics.requests.name,
  http.metrics.responses.name,
  http.metrics.open.name,
  `${http.metrics.durations.name}_count`,
  dns.metrics.queries.name,
  dns.metrics.answers.name,
];

/** Returns the recorded conversations. */
function conversations(): Dialogue[] {
  const recorded = JSON.parse(readFileSync(CONVERSATIONS, 'utf8')) as Record<
    string,
    { readonly segments: readonly (readonly ['client' | 'server', string])[] }
  >;
  return Object.values(recorded).map(({ segments }) =>
    segments.map(([end, text]) => [end, Buffer.from(text, 'hex')] as const),
  );
}

function sumOf(page: Exposition, name: string, pod: string): number {
  return (page.named.get(name) ?? [])
    .filter(({ labels }) => labels['pod'] === pod)
    .reduce((sum, { value }) => sum + Number(value), 0);
}

/**
 * Plays recorded conversations of other protocols, sends changed first segments of some, and checks that none is
 * counted as a request.
 */
export async function expectNothingCounted(count: number, seed: number): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const pair = stack.use(await HostPair.create());
  const { a, b, addressB } = pair;
  const options = { enabled: true, events: false };
  const agent = stack.use(await TestKernel.open(only({ http: options, dns: options }, { detail: 'full' })));
  using speakers = await Speakers.start(a.netns, b.netns, addressB.ipv4, SPEAKERS_PORT);
  for (const dialogue of conversations()) await speakers.play(dialogue);
  const inside = (name: string, ...args: readonly (string | number)[]) =>
    spawn('ip', ['netns', 'exec', name, 'python3', '-u', PROGRAM, ...args.map(String)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
  const lineOf = async (child: ReturnType<typeof inside>) =>
    (await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next()).value;
  const server = inside(b.netns.name, 'serve', SEGMENTS, addressB.ipv4, ...PORTS);
  stack.defer(() => void server.stdin.end());
  expect(await lineOf(server)).toBe('ready');
  const client = inside(a.netns.name, 'send', SEGMENTS, addressB.ipv4, count, seed, ...PORTS);
  stack.defer(() => void client.kill());
  expect(await lineOf(client)).toBe(String(count));
  await eventually(async () => {
    const page = await agent.page();
    for (const { netns } of [a, b]) {
      // Connections that end before six segments without a known protocol are in no class.
      expect(sumOf(page, connections.name, netns.name)).toBeGreaterThan(0);
      for (const name of COUNTED) expect(sumOf(page, name, netns.name), `${netns.name}: ${name}`).toBe(0);
    }
  });
}
