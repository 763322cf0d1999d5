import { BpfRing } from 'bpf-napi';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { dropUdp } from '../support/event_rate.ts';
import { HostPair } from '../support/hosts.ts';
import { TestKernel } from '../support/kernel.ts';
import { eventually, retry } from '../support/oracle.ts';

const SILENCE_MS = 10_000;
const STEP_MS = 25;
/**
 * Maximum number of wakeups that a batch of records causes: the kernel's notification, the start of the drain timer,
 * and the last drain.
 */
const WAKE_UPS_A_BATCH = 3;
const PORT = 7_001;

let pair: HostPair;
let agent: TestKernel;

beforeAll(async () => {
  pair = await HostPair.create();
  dropUdp(pair);
});
afterAll(() => pair[Symbol.asyncDispose]());
afterEach(async () => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  await agent[Symbol.asyncDispose]();
});

/** Advances the agent's fake clock. The event loop, the kernel and its notifications are real. */
async function passTime(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += STEP_MS) {
    await vi.advanceTimersByTimeAsync(STEP_MS);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

it('wakes no ring while no record comes, and gets the first record after that', async () => {
  const drain = vi.spyOn(BpfRing.prototype, 'drain');
  const pod = pair.b.netns.name;
  agent = await TestKernel.open(`{ probes: { packetloss: { pods: { names: [${pod}] } } } }`);
  // One ring belongs to discovery. The other rings belong to probes that are on by default and send events from BPF
  // programs. Each is drained soon after it has been opened.
  const rings = await eventually(() => {
    const drained = [...new Set(drain.mock.contexts)] as BpfRing[];
    expect(drained).toHaveLength(5);
    return drained;
  });
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  await passTime(4 * STEP_MS);
  // Other namespaces on this machine may cause records, so a few wakeups are allowed. A timer would wake each ring four
  // hundred times in the same period.
  await retry(async () => {
    drain.mockClear();
    const before = rings.map(({ wakeUps }) => wakeUps);
    await passTime(SILENCE_MS);
    for (const [index, ring] of rings.entries()) {
      const batches = drain.mock.contexts.filter(
        (context, call) => context === ring && Number(drain.mock.results[call]?.value) > 0,
      );
      expect(ring.wakeUps - (before[index] ?? 0)).toBeLessThanOrEqual(WAKE_UPS_A_BATCH * batches.length + 2);
    }
  });
  agent.events.length = 0;
  await pair.a.udpSend({ address: pair.addressB.ipv4, port: PORT, count: 1, bytes: 9 });
  const isTold = () => agent.events.some((event) => event.pod === pod && event.dst?.endsWith(`:${PORT}`));
  while (!isTold()) await passTime(STEP_MS);
});
