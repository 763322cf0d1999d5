import { expect, it } from 'vitest';
import { http } from '#probes/http/http.ts';
import { Speakers } from '../support/dialogue.ts';
import { sampleValue } from '../support/exposition.ts';
import { expectOthersExact } from '../support/hostile_http.ts';
import { HostPair } from '../support/hosts.ts';
import { openHoles, REQUEST_BEHIND_HOLE } from '../support/http_holes.ts';
import { HttpProcess, runHttp } from '../support/http_traffic.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { lacksApplications } from '../support/lan/programs.ts';
import { loseHoles } from '../support/lost_packets.ts';
import { eventually } from '../support/oracle.ts';
import { sumsOf } from '../support/sample_sums.ts';

const PORT = 8_060;
/** Maximum number of connections that are read. */
const CONNECTIONS = 600;

it.skipIf(lacksApplications())(
  'counts of others are exact while a Pod opens connections with headers of 64 kB',
  async () => {
    await expectOthersExact(200, 60);
  },
);

it('keeps segments of others while a Pod has more connections with missing bytes than are kept', async () => {
  await using stack = new AsyncDisposableStack();
  const [hostile, pair] = [stack.use(await HostPair.create()), stack.use(await HostPair.create())];
  const { a, b, addressB } = pair;
  const agent = stack.use(await TestKernel.open(only({ http: { enabled: true, events: false } }, { detail: 'full' })));
  const speakers = stack.use(await Speakers.start(a.netns, b.netns, addressB.ipv4, PORT));
  stack.use(await openHoles(hostile));
  let playing: Promise<void>;
  {
    using holes = loseHoles(b.netns);
    playing = speakers.play(REQUEST_BEHIND_HOLE);
    // The segment behind it has been sent before it is sent again.
    await eventually(() => expect(holes.dropped()).toBeGreaterThanOrEqual(2));
  }
  await playing;
  const { responses } = http.metrics;
  await eventually(async () => {
    const page = await agent.page();
    for (const [{ netns }, role] of [
      [a, 'client'],
      [b, 'server'],
    ] as const) {
      const counted = sumsOf(page, responses.name, { pod: netns.name, role }, ['method', 'code']);
      expect(counted, role).toEqual({ 'POST 201': 1, 'DELETE 204': 1 });
    }
  });
});

it('reads connections of others while a Pod holds more than are read', async () => {
  await using stack = new AsyncDisposableStack();
  const [hostile, pair] = [stack.use(await HostPair.create()), stack.use(await HostPair.create())];
  const options = { enabled: true, connections: CONNECTIONS };
  const agent = stack.use(await TestKernel.open(only({ http: options }, { detail: 'full' })));
  for (const { b, addressB } of [hostile, pair])
    stack.use(await HttpProcess.start(b.netns, 'serve', addressB.ipv4, PORT));
  const held = [hostile.addressB.ipv4, PORT, '/hang', CONNECTIONS] as const;
  stack.use(await HttpProcess.start(hostile.a.netns, 'hold', ...held));
  const { responses, refused } = http.metrics;
  const pods = [hostile.a.netns.name, hostile.b.netns.name];
  await eventually(async () => {
    const page = await agent.page();
    for (const pod of pods) expect(sampleValue(page, refused.name, { pod }), pod).toBeGreaterThan(0);
  });
  runHttp(pair.a.netns, 'burst', pair.addressB.ipv4, PORT, 10);
  await eventually(async () => {
    const page = await agent.page();
    for (const [{ netns }, role] of [
      [pair.a, 'client'],
      [pair.b, 'server'],
    ] as const) {
      expect(sumsOf(page, responses.name, { pod: netns.name, role }, ['code']), role).toEqual({ '200': 10 });
      expect(sumsOf(page, refused.name, { pod: netns.name }, []), role).toEqual({});
    }
  });
});
