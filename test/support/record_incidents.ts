/**
 * Provokes the streams of `incident_streams.ts` in network namespaces, and writes the events that the agent reports
 * about them to test/fixtures/incidents. Run it with `node test/support/record_incidents.ts [NAME…]`, as root.
 */
import { writeFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import type { EventRecord } from '#api/events.ts';
import { pathOf, programOf, STREAMS, type Stream } from './incident_streams.ts';
import { TestKernel } from './kernel.ts';
import { RoutedPair } from './routed_pair.ts';
import { playScene } from './scene.ts';

/** Time in milliseconds for events that are checked for every 5 or 10 seconds. */
const AWAITED_MS = 12_000;
const SETTLE_MS = 500;

async function record(name: string, stream: Stream): Promise<void> {
  using pair = new RoutedPair();
  await using agent = await TestKernel.open();
  await agent.page();
  const names = new Map([
    [pair.a.netns.name, 'client'],
    [pair.b.netns.name, 'server'],
    ...(stream.routerIsElsewhere === true ? [] : [[pair.router.name, 'router'] as const]),
  ]);
  const own = () => agent.events.filter(({ pod }) => names.has(pod ?? ''));
  await playScene(pair, 'ipv4', programOf(stream, pair.router.name, `/proc/${process.pid}/ns/net`));
  const endMs = performance.now() + AWAITED_MS;
  await wait(SETTLE_MS);
  const isMissing = () => stream.awaited !== undefined && !own().some(({ type }) => type === stream.awaited);
  while (isMissing() && performance.now() < endMs) await wait(SETTLE_MS);
  const lines = own()
    .filter(({ probe }) => probe !== 'changes' && probe !== 'lifecycle')
    .sort((one, other) => (one.time < other.time ? -1 : 1))
    .map((event) => JSON.stringify(shortened({ ...event, pod: names.get(event.pod ?? '') ?? null })));
  writeFileSync(pathOf(name), `${lines.join('\n')}\n`);
  console.log(`${name}: ${lines.length} events`);
}

/** Leaves out the texts for people, which would be most of the recording. */
function shortened(event: EventRecord): object {
  const { hint: _hint, ...rest } = event;
  return { ...rest, message: '' };
}

const wanted = process.argv.slice(2);
for (const [name, stream] of Object.entries(STREAMS)) {
  if (wanted.length === 0 || wanted.includes(name)) await record(name, stream);
}
