import { expect, it } from 'vitest';
import { http } from '#probes/http/http.ts';
import { Speakers } from '../support/dialogue.ts';
import type { Exposition } from '../support/exposition.ts';
import { HostPair } from '../support/hosts.ts';
import { HTTP2_CASES, type Http2Case, PLAIN_CALLS } from '../support/http2_cases.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { sumsOf } from '../support/sample_sums.ts';

const PORT = 8_060;
const { requests, responses, calls, unknown } = http.metrics;

/** Returns what was counted in a namespace, in the words of {@link Http2Case}. */
function countsOf(page: Exposition, pod: string, role: string): Record<string, number> {
  const answered = sumsOf(page, responses.name, { pod, role }, ['method', 'code']);
  const ended = sumsOf(page, requests.name, { pod, role }, ['method', 'status']);
  const others = Object.entries(ended).filter(([key]) => !/ [1-5]xx$/.test(key));
  const causes = sumsOf(page, unknown.name, { pod, role }, ['cause']);
  return {
    ...answered,
    ...Object.fromEntries(others),
    ...sumsOf(page, calls.name, { pod, role }, ['method', 'code']),
    ...Object.fromEntries(Object.entries(causes).map(([cause, count]) => [`unknown: ${cause}`, count])),
  };
}

function minus(after: Record<string, number>, before: Record<string, number>): Record<string, number> {
  const changes = Object.entries(after).map(([key, value]) => [key, value - (before[key] ?? 0)] as const);
  return Object.fromEntries(changes.filter(([, change]) => change !== 0));
}

it('counts odd and hostile HTTP/2 as it is, and others beside it', async () => {
  await using stack = new AsyncDisposableStack();
  const [hostile, plain] = [stack.use(await HostPair.create()), stack.use(await HostPair.create())];
  const agent = stack.use(await TestKernel.open(only({ http: { enabled: true, events: false } }, { detail: 'full' })));
  const speak = async ({ a, b, addressB }: HostPair) =>
    stack.use(await Speakers.start(a.netns, b.netns, addressB.ipv4, PORT));
  const [hostiles, others] = await Promise.all([speak(hostile), speak(plain)]);
  const seen = async ({ a, b }: HostPair) => {
    const page = await agent.page();
    return { client: countsOf(page, a.netns.name, 'client'), server: countsOf(page, b.netns.name, 'server') };
  };
  const play = async ({ title, dialogue, counts }: Http2Case) => {
    const before = await seen(hostile);
    await Promise.all([hostiles.play(dialogue), others.play(PLAIN_CALLS.dialogue)]);
    await eventually(async () => {
      const after = await seen(hostile);
      expect(minus(after.client, before.client), `${title}, at the client`).toEqual(counts);
      expect(minus(after.server, before.server), `${title}, at the server`).toEqual(counts);
    });
  };
  for (const each of HTTP2_CASES) await play(each);
  const { a, b, deviceA, deviceB } = hostile;
  for (const [{ netns }, device] of [
    [a, deviceA],
    [b, deviceB],
  ] as const)
    netns.ip(`link set ${device} mtu 400 gso_max_segs 1`);
  for (const each of HTTP2_CASES.filter(({ title }) => /segments/.test(title))) await play(each);
  const played = HTTP2_CASES.length + HTTP2_CASES.filter(({ title }) => /segments/.test(title)).length;
  const counts = Object.fromEntries(Object.entries(PLAIN_CALLS.counts).map(([key, count]) => [key, count * played]));
  await eventually(async () => expect(await seen(plain)).toEqual({ client: counts, server: counts }));
});
