import { deepEqual, equal, ok } from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import { HostPair } from '../../support/hosts.ts';
import { type End, joinSockets, told } from '../../support/joined_sockets.ts';
import { probesOf, TestKernel } from '../../support/kernel.ts';
import { grown, histogramOf } from '../../support/latency.ts';
import { eventually } from '../../support/oracle.ts';
import { defineChecks } from '../check.ts';
import { kernelFeatures } from '../features.ts';
import { expectUnsupported } from '../unsupported.ts';

const READ = 'netsonde_socket_read_delay_seconds';
const WRITE = 'netsonde_socket_write_delay_seconds';
const OFF = '{ probes: { packetloss: false, tcpretrans: false, tcpreset: false } }';
const ON =
  '{ probes: { socketlatency: { enabled: true, threshold: 90ms }, packetloss: false, tcpretrans: false, tcpreset: false } }';

const ENDS: readonly End[] = [
  { family: 'AF_INET', address: '10.9.0.2' },
  { family: 'AF_INET6', address: 'fd09::2' },
];

interface Context {
  readonly pair: HostPair;
  readonly agent: TestKernel;
  /** Whether this kernel supports the probe. If not, the checks expect the probe to report the reason. */
  readonly can: boolean;
}

async function open(resources: AsyncDisposableStack): Promise<Context> {
  const pair = resources.use(await HostPair.create());
  const agent = resources.use(await TestKernel.open(OFF));
  const { socketStorage: can } = kernelFeatures();
  return { pair, agent, can };
}

/**
 * Checks a time that the probe measured. The lower limit is the time for which the check waited, and the upper limit is
 * the time that the check measured itself.
 * @param waited lower limit in seconds
 */
function between(value: number, waited: number, measured: number, what: string): void {
  // The check's own timer may fire slightly early.
  ok(value > waited - 0.002 && value <= measured, `${what}: ${value} s, waited ${waited} s, measured ${measured} s`);
}

async function refuses({ agent }: Context): Promise<void> {
  await agent.kernel.configure(probesOf(ON));
  const reason = /socket storage, which tracepoints and fentry programs support since 5\.11/;
  await expectUnsupported(agent, 'socketlatency', reason);
}

/** Checks that there is one event of this type for this port, with a delay within the limits. */
async function expectEvent(
  { agent }: Context,
  type: string,
  port: number,
  waited: number,
  measured: number,
): Promise<void> {
  const events = await eventually(() => {
    const found = agent.events.filter((event) => event.type === type && event.dst?.endsWith(`:${port}`));
    equal(found.length, 1);
    return found;
  });
  between(Number(events[0]?.['delaySeconds']), waited, measured, type);
}

async function stopReader(context: Context, protocol: 'tcp' | 'udp'): Promise<void> {
  if (!context.can) return refuses(context);
  const { pair, agent } = context;
  const histogram = async () => histogramOf(await agent.page(), READ, { pod: pair.b.netns.name });
  for (const end of ENDS) {
    await agent.kernel.configure(probesOf(OFF));
    await using joined = await joinSockets(pair, protocol, end);
    const { receiver, sender } = joined;
    await told(sender, "s.send(b'first')");
    await told(receiver, 's.recv(100)');
    // The socket must exist before the probe is opened.
    await agent.kernel.configure(probesOf(ON));
    agent.events.length = 0;
    const before = await histogram();
    const reading = told(receiver, 's.recv(100)');
    await receiver.stop();
    const sentNs = await told(sender, "s.send(b'x' * 70)");
    await wait(400);
    receiver.signal('SIGCONT');
    const measured = ((await reading) - sentNs) / 1e9;
    const waited = grown(before, await histogram());
    equal(waited.count, 1);
    between(waited.sum, 0.4, measured, `${protocol} ${end.family}`);
    await expectEvent(context, 'socket_read_slow', joined.port, 0.4, measured);

    // Peeking and failed reads must not count as reads, and must not affect later measurements.
    const later = await histogram();
    const againNs = await told(sender, "s.send(b'y')");
    await wait(100);
    await told(receiver, 's.recv(100, socket.MSG_PEEK)');
    await wait(100);
    const second = ((await told(receiver, 's.recv(100)')) - againNs) / 1e9;
    await told(receiver, 'drain()');
    const more = grown(later, await histogram());
    equal(more.count, 1);
    between(more.sum, 0.2, second, `${protocol} ${end.family} after a peek`);
  }
}

export const socketlatency = defineChecks('socketlatency', open, {
  'measures a reader of TCP that is stopped, on a socket older than the probe': (context) => stopReader(context, 'tcp'),

  'measures a reader of UDP that is stopped': (context) => stopReader(context, 'udp'),

  'counts each write once, and measures data that the kernel holds back': async (context) => {
    if (!context.can) return refuses(context);
    const { pair, agent } = context;
    await agent.kernel.configure(probesOf(ON));
    const histogram = async () => histogramOf(await agent.page(), WRITE, { pod: pair.a.netns.name });
    for (const end of ENDS) {
      await using joined = await joinSockets(pair, 'tcp', end);
      const { receiver, sender } = joined;
      const first = await histogram();
      let written = 0;
      for (let index = 0; index < 10; index++) {
        const writtenNs = await told(sender, "s.send(b'x' * 50)");
        written += ((await told(receiver, 's.recv(100)')) - writtenNs) / 1e9;
      }
      const quick = grown(first, await histogram());
      equal(quick.count, 10);
      ok(quick.sum <= written, `${quick.sum} s for ten writes that are sent at once, measured ${written} s`);

      agent.events.length = 0;
      const before = await histogram();
      const writtenNs = await told(sender, "s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1); s.send(b'x' * 50)");
      await wait(150);
      await told(sender, 's.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)');
      const measured = ((await told(receiver, 's.recv(100)')) - writtenNs) / 1e9;
      const waited = grown(before, await histogram());
      equal(waited.count, 1);
      between(waited.sum, 0.15, measured, end.family);
      await expectEvent(context, 'socket_write_slow', joined.port, 0.15, measured);
    }
  },

  'measures data that waits for a receiver that does not read': async (context) => {
    if (!context.can) return refuses(context);
    const { pair, agent } = context;
    await agent.kernel.configure(probesOf(ON));
    const [end] = ENDS;
    if (end === undefined) return;
    await using joined = await joinSockets(pair, 'tcp', end, end, 4_096);
    const histogram = async () => histogramOf(await agent.page(), WRITE, { pod: pair.a.netns.name });
    const before = await histogram();
    await told(joined.sender, "s.send(b'x' * 40000)");
    await wait(400);
    await told(joined.receiver, 'drain()');
    const waited = grown(before, await histogram());
    const slow = waited.buckets.filter(({ bound, count }) => count > 0 && bound > 0.3);
    ok(slow.length > 0, JSON.stringify(waited));
    deepEqual(
      slow.filter(({ bound }) => bound > 4),
      [],
    );
  },
});
