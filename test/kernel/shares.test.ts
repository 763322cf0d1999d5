import type { BpfObject } from 'bpf-napi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FILE } from '#bpf/generated/packetloss.ts';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId, UNLISTED } from '#core/netns.ts';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { ANY_REASON, COUNTED, Counts } from '#probe/counts.ts';
import { OwnersMap } from '#probe/listed.ts';
import { OwnerSlots } from '#probe/owners.ts';
import { PROBES } from '#probes/index.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { SourceErrors } from '#sources/errors.ts';
import { listenerSource } from '#sources/sockets/listeners.ts';
import { TcpWalk } from '#sources/sockets/tcp_walk.ts';
import type { Sources } from '#sources/sources.ts';
import { CGROUP_V1, TestPod } from '../support/cgroups.ts';
import { type Exposition, sampleValue } from '../support/exposition.ts';
import { startPython, TestNetns } from '../support/hosts.ts';
import { OBJECTS, only, TestKernel } from '../support/kernel.ts';
import { NamespaceFlood } from '../support/namespace_flood.ts';
import { eventually } from '../support/oracle.ts';
import { FreesOracle } from '../support/orderly/frees.ts';
import { withShares } from '../support/shares.ts';

const NAMESPACES = 40;
/** Number of rows for an owner and for all unlisted namespaces: a tenth of the rows that the flood needs. */
const SHARES = { ofOwner: 8, ofUnlisted: 8 };
/** Maximum number of events per second for one owner. The victim also drops this number of packets. */
const LIMIT = 7;
const DROPS = 'netsonde_packet_drops_total';

function drop(netns: TestNetns, count: number): void {
  netns.ip('link set lo up');
  netns.python(`
import socket
for _ in range(${count}):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))
`);
}

/** Waits until a namespace is listed, because packets that it drops earlier are not attributed to it. */
function listed(agent: TestKernel, { name }: TestNetns): Promise<void> {
  return eventually(async () => expect((await agent.kernel.entities()).map(({ pod }) => pod)).toContain(name));
}

const dropsOf = (page: Exposition, pod: string) => sampleValue(page, DROPS, { pod, reason: 'NO_SOCKET' });

describe.each([
  ['root', false],
  ['root in a user namespace of its own', true],
])('namespaces that a process of a Pod makes as %s', (_, isNested) => {
  it('have every packet in some row, and the rows of others are exact', async () => {
    await using pod = new TestPod(CGROUP_V1);
    await using flood = await NamespaceFlood.make(NAMESPACES, pod.container, isNested);
    using victim = new TestNetns();
    using oracle = await FreesOracle.open([255, 255]);
    using object = await new BpfSource(OBJECTS, DEFAULT_PATHS.sys).load({
      file: FILE,
      programs: ['packet_drop_socket'],
      constants: { owner_rows: SHARES.ofOwner, unlisted_rows: SHARES.ofUnlisted, filters_pods: true },
      without: ['events', 'event_buckets', 'event_ledgers'],
    });
    // The last namespace belongs to a Pod whose runtime uses a user namespace. The only difference from the other
    // namespaces is that it is listed.
    const [rootless, rootlessInum] = [flood.ids.at(-1) as NetnsId, [...flood.inums].at(-1) as number];
    const owners = new OwnerSlots({
      isUnowned: (id) => id !== rootless && flood.ids.includes(id),
      isNested: () => isNested,
      wasOwned: () => false,
      hasDeparted: () => false,
    });
    owners.set([
      { id: asNetnsId(Number(victim.id)), owner: 'victim', name: 'victim' },
      { id: rootless, owner: 'rootless', name: 'rootless' },
    ]);
    const bytes = (id: bigint) => new Uint8Array(BigUint64Array.of(id).buffer);
    // The Pod filter excludes packets of other tests.
    for (const id of [...flood.ids, victim.id])
      object.map('filtered_netns').update(bytes(BigInt(id)), Uint8Array.of(1));
    owners.follow({
      listed: (id, slot) => object.map('owners').update(bytes(BigInt(id)), new Uint8Array(Uint32Array.of(slot).buffer)),
      unlisted: () => undefined,
      freed: () => undefined,
    });
    await object.attach('packet_drop_socket');
    const counts = new Counts(object, (rest) => ({ reason: ANY_REASON, side: rest }), owners, {
      value: COUNTED.initial(),
    });
    const inums = new Set([...flood.inums, victim.inum]);
    const freed = (of = inums) => [...oracle.read(of).values()].reduce((sum, { count }) => sum + count, 0);
    await flood.lose();
    drop(victim, 5);
    await flood.lose();
    const sum = (of: ReturnType<typeof counts.rows>) => of.reduce((total, { count }) => total + Number(count), 0);
    // The kernel discards the unread data of a closed socket asynchronously.
    const rows = await eventually(() => {
      const now = counts.rows();
      expect(freed()).toBeGreaterThanOrEqual(4 * NAMESPACES + 5);
      expect(sum(now)).toBe(freed());
      return now;
    });
    const ofVictim = rows.filter(({ netns }) => netns === asNetnsId(Number(victim.id)));
    expect(sum(rows.filter(({ netns }) => netns === UNLISTED))).toBeGreaterThanOrEqual(4 * (NAMESPACES - 1));
    expect(sum(rows.filter(({ netns }) => netns === rootless))).toBe(freed(new Set([rootlessInum])));
    expect(Math.max(...ofVictim.map(({ count }) => Number(count)))).toBe(5);
    expect(counts.uncounted().map_full).toBe(0);
  });
});

describe('the room for listening sockets', () => {
  /** Opens listening sockets, each with connections that wait to be accepted. */
  const listen = (sockets: number, waiting: number) => `
import socket, time
kept = [socket.create_server(('127.0.0.1', 0), backlog=0) for _ in range(${sockets})]
for listener in list(kept):
    for _ in range(${waiting}):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        kept.append(client)
print('ready', flush=True)
time.sleep(1000)
`;

  /** Creates two namespaces of one Pod, one namespace of another Pod, and two unlisted namespaces. */
  async function makeBed(each: number, waiting: number) {
    await using made = new AsyncDisposableStack();
    const netns = Array.from({ length: 5 }, () => made.use(new TestNetns()));
    const [first, second, victim] = netns as [TestNetns, TestNetns, TestNetns];
    const ids = netns.map(({ id }) => asNetnsId(Number(id)));
    const owners = new OwnerSlots({
      isUnowned: () => false,
      isNested: () => false,
      wasOwned: () => true,
      hasDeparted: () => false,
    });
    owners.set([
      { id: idOf(first), owner: 'greedy', name: 'greedy' },
      { id: idOf(second), owner: 'greedy', name: 'greedy' },
      { id: idOf(victim), owner: 'victim', name: 'victim' },
    ]);
    for (const one of netns) {
      one.ip('link set lo up');
      made.use(await startPython(one, listen(one === victim ? 3 : each, waiting)));
    }
    const held = made.move();
    const list = (object: Pick<BpfObject, 'map'>) => new OwnersMap(object, owners);
    return { netns, ids, list, [Symbol.asyncDispose]: () => held.disposeAsync() };
  }

  const idOf = ({ id }: TestNetns) => asNetnsId(Number(id));
  /** Returns the sums for the greedy Pod, the victim and the unlisted namespaces. */
  const sumOf = ([first = 0, second = 0, victim, ...others]: readonly number[]) => [
    first + second,
    victim,
    others.reduce((sum, count) => sum + count, 0),
  ];

  let bed: Awaited<ReturnType<typeof makeBed>>;

  beforeAll(async () => {
    bed = await makeBed(40, 4);
  });

  afterAll(() => bed[Symbol.asyncDispose]());

  it('a Pod that listens on everything, in however many namespaces, hides no accept queue of another', async () => {
    const bpf = new BpfSource(OBJECTS, DEFAULT_PATHS.sys);
    using pass = await TcpWalk.open(bpf, 2, bed.list, new SourceErrors(), { portsEach: 8 });
    for (let walks = 0; walks < 2; walks++) {
      const snapshot = await pass.read(freeCycle());
      const counts = bed.ids.map((id) => snapshot.summary(id)?.acceptQueues.length ?? 0);
      const [greedy, victim, unlisted] = sumOf(counts);
      expect([greedy, victim]).toEqual([8, 3]);
      // Other unlisted namespaces on this machine count as well.
      expect(unlisted).toBeLessThanOrEqual(8);
    }
  });

  it('a Pod whose listening sockets all drop, in however many namespaces, hides none of another', async () => {
    const bpf = new BpfSource(OBJECTS, DEFAULT_PATHS.sys);
    const errors = new SourceErrors();
    const sources = { bpf } as Sources;
    const source = listenerSource(sources, bed.list, errors, () => undefined);
    await using _used = await source.use();
    await eventually(async () => {
      const listeners = await source.read(freeCycle());
      const counts = bed.ids.map((id) => listeners.filter(({ netns }) => netns === id).length);
      const [greedy, victim, unlisted] = sumOf(counts);
      expect([greedy, victim]).toEqual([64, 3]);
      expect(unlisted).toBeLessThanOrEqual(64);
    });
    expect([...errors.counts.values()].map(({ path }) => path)).toEqual(['tcp listeners']);
  });
});

it('a flood of namespaces takes no counts and no events from others, and the agent reports who is limited', async () => {
  await using pod = new TestPod(CGROUP_V1);
  await using flood = await NamespaceFlood.make(NAMESPACES, pod.container, false);
  await using nested = await NamespaceFlood.make(NAMESPACES, pod.container, true);
  await using agent = await TestKernel.open(only({ packetloss: { limit: LIMIT } }), {
    probes: withShares(PROBES, SHARES),
  });
  using before = new TestNetns();
  const startMs = performance.now();
  await listed(agent, before);
  drop(before, 3);
  await Promise.all([flood.lose(), nested.lose()]);
  drop(before, 4);
  using after = new TestNetns();
  await listed(agent, after);
  drop(after, 5);
  await Promise.all([flood.lose(), nested.lose()]);
  const page = await eventually(async () => {
    const now = await agent.page();
    expect([dropsOf(now, before.name), dropsOf(now, after.name)]).toEqual([7, 5]);
    return now;
  });
  expect(sampleValue(page, DROPS, { pod: 'unlisted', reason: 'other' })).toBeGreaterThan(NAMESPACES);
  const eventsOf = (name: string) => agent.events.filter(({ probe, pod: of }) => probe === 'packetloss' && of === name);
  await eventually(() => expect([eventsOf(before.name).length, eventsOf(after.name).length]).toEqual([7, 5]));
  // All unlisted namespaces share one limit, and those in user namespaces another. Two CPUs may both take the last token.
  const seconds = (performance.now() - startMs) / 1_000;
  const ids = new Set([...flood.ids, ...nested.ids].map(String));
  const told = agent.events.filter(({ probe, netns }) => probe === 'packetloss' && ids.has(netns));
  expect(told.length).toBeGreaterThan(0);
  expect(told.length).toBeLessThanOrEqual(2 * LIMIT * (1.5 + seconds));
  // Rows are counted soon after a namespace has died, and once a minute.
  {
    using brief = new TestNetns();
    await listed(agent, brief);
  }
  await eventually(
    () =>
      expect(agent.kernel.probes().find(({ name }) => name === 'packetloss')).toMatchObject({
        state: 'degraded',
        reason: expect.stringContaining('namespaces without an owner used all'),
      }),
    90_000,
  );
});
