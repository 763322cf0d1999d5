import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { DESCRIBED_REASONS, describeDrop, describeReason } from '#probes/packetloss/drop_hints.ts';
import { DropReasons } from '#probes/packetloss/drop_reasons.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { compileFilters, DROP_CASES } from '../support/drop_cases.ts';
import { sampleValue } from '../support/exposition.ts';
import { HostPair } from '../support/hosts.ts';
import { OBJECTS, only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { endpoint, FAMILIES, growth, playScene } from '../support/scene.ts';

const DROPS = 'netsonde_packet_drops_total';
const DISCARDS = 'netsonde_packet_discards_total';

const resources = new AsyncDisposableStack();
const filters = resources.use(compileFilters());
let pair: HostPair;
let agent: TestKernel;

beforeAll(async () => {
  pair = resources.use(await HostPair.create());
  agent = resources.use(await TestKernel.open(only({ packetloss: true }, { detail: 'full' })));
});

afterAll(() => resources.disposeAsync());

describe.each(FAMILIES)('over %s', (family) => {
  const cases = DROP_CASES.filter(({ families }) => families?.includes(family) ?? true);
  it.each(cases.map((one, index) => [one.name, one, 7_400 + index] as const))('%s', async (_, one, port) => {
    agent.events.length = 0;
    const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
    const prelude = `PORT, DEVICE_A, DEVICE_B = ${port}, '${pair.deviceA}', '${pair.deviceB}'\n`;
    one.setUp?.(pair, filters.path);
    const { grown, result } = await growth(agent, pods, DROPS, 'reason', async () => {
      try {
        return await playScene(pair, family, prelude + one.program);
      } finally {
        one.tearDown?.(pair);
      }
    });
    const count = one.count ?? result.printed[0] ?? 0;
    expect(count).toBeGreaterThan(0);
    expect(grown[`${one.where} ${one.reason}`]).toBe(count);
    expect(grown[`${one.where === 'a' ? 'b' : 'a'} ${one.reason}`]).toBeUndefined();
    const events = await eventually(() => {
      const found = agent.events.filter(({ pod, reason }) => pod === pods[one.where] && reason === one.reason);
      expect(found).toHaveLength(count);
      return found;
    });
    const source = one.source ?? pair.addressA[family];
    const target = one.target ?? pair.addressB[family];
    for (const event of events) {
      expect(event).toMatchObject({
        type: 'packet_drop',
        netns: String(pair[one.where].netns.cookie),
        protocol: one.protocol ?? 'udp',
        ...(one.has === 'nothing' ? {} : { dst: one.has === 'addresses' ? target : endpoint(target, port) }),
        hint: describeDrop(one.reason, String(event['symbol'])).hint,
      });
      if (one.has === undefined) expect(event.src).toMatch(new RegExp(`^\\[?${source}\\]?:[1-9]\\d+$`));
      else expect(event.src).toBe(one.has === 'addresses' ? source : undefined);
      expect(event.message).toContain(describeDrop(one.reason, String(event['symbol'])).what);
      if (one.message !== undefined) expect(event.message).toMatch(one.message);
      expect(event['symbol']).toMatch(one.symbol ?? /^\w+[.\w]*\+0x/);
      expect(event['pid']).toBe(one.byProcess === true ? result.pid : undefined);
      expect(event['process']).toBe(one.byProcess === true ? 'python3' : undefined);
      expect(event['cgroup']).toEqual(one.byProcess === true ? expect.stringMatching(/^\d+$/) : undefined);
    }
  });
});

it('describes every reason of this kernel, and shows an unknown one by its name in the kernel', () => {
  const reasons = new DropReasons(new BpfSource(OBJECTS, DEFAULT_PATHS.sys));
  const unknown = describeReason('A_REASON_OF_TOMORROW');
  const names = reasons.all.filter((name) => name !== 'NOT_DROPPED_YET');
  expect(names.length).toBeGreaterThan(60);
  expect(names.filter((name) => describeReason(name).what === unknown.what)).toEqual([]);
  expect(new Set(DESCRIBED_REASONS).size).toBe(DESCRIBED_REASONS.length);
  expect(reasons.name(60_000)).toBe('UNKNOWN_60000');
  expect(reasons.name((2 << 16) | 3)).toMatch(/^(OVS_|OPENVSWITCH_3)/);
  expect(reasons.name((77 << 16) | 3)).toBe('SUBSYSTEM_77_3');
});

it('does not count the answers to a closed window as loss', async () => {
  const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
  agent.events.length = 0;
  const { grown } = await growth(agent, pods, DISCARDS, 'class', () =>
    playScene(
      pair,
      'ipv4',
      `
PORT = 7490
server = listen(B, PORT); server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
client = sock(A); client.connect((ADDRESS[B], PORT)); client.setblocking(False)
peer, _ = server.accept()
try:
    for _ in range(10): client.send(b'x' * 7000)
except BlockingIOError: pass
time.sleep(1.5)
`,
    ),
  );
  expect(grown['b duplicate']).toBeGreaterThan(0);
  expect(agent.events.filter(({ dst }) => dst?.endsWith(':7490'))).toEqual([]);
});

it('does not count unread datagrams of a closed socket as loss, and counts them on the node', async () => {
  const purged = async () => sampleValue(await agent.page(), DISCARDS, { pod: '', class: 'purged' }) ?? 0;
  const before = await purged();
  const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
  const { grown } = await growth(agent, pods, DROPS, 'reason', () =>
    playScene(
      pair,
      'ipv4',
      `
server = sock(B, socket.SOCK_DGRAM); server.bind((ADDRESS[B], 7493))
client = sock(A, socket.SOCK_DGRAM)
for _ in range(20): client.sendto(b'x', (ADDRESS[B], 7493))
server.close()
`,
    ),
  );
  expect(grown).toEqual({});
  await eventually(async () => expect((await purged()) - before).toBeGreaterThanOrEqual(20));
});

it('sees no packet if there is no route for one', async () => {
  const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
  const { grown, result } = await growth(agent, pods, DROPS, 'reason', () =>
    playScene(
      pair,
      'ipv4',
      `
try: sock(A, socket.SOCK_DGRAM).sendto(b'x', ('10.88.0.1', 7491))
except OSError as error: print(error.errno)
`,
    ),
  );
  expect(result.printed).toEqual([101]);
  // Fragments of an earlier case may time out during this case.
  expect(Object.keys(grown).filter((key) => !key.endsWith('FRAG_REASM_TIMEOUT'))).toEqual([]);
});

it('does not count multicast without a member as loss, unless a firewall drops it', async () => {
  const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
  const send = (before = '', after = '') =>
    playScene(
      pair,
      'ipv4',
      `
s = sock(A, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(ADDRESS[A]))
${before}
for n in range(5): s.sendto(b'x', ('239.1.2.3', 7492))
${after}
`,
    );
  agent.events.length = 0;
  const { grown, result } = await growth(agent, pods, DISCARDS, 'class', () =>
    growth(agent, pods, DROPS, 'reason', () => send()),
  );
  expect(grown).toEqual({ 'b no_listener_multicast': 5 });
  expect(result.grown).toEqual({});

  const filtered = () => send("drop(B, 'udp dport 7492 drop', 'type filter hook prerouting priority 0')", 'undrop(B)');
  expect((await growth(agent, pods, DROPS, 'reason', filtered)).grown).toEqual({ 'b NETFILTER_DROP': 5 });
  await eventually(() =>
    expect(agent.events.filter(({ dst }) => dst === '239.1.2.3:7492').map(({ reason }) => reason)).toEqual(
      new Array(5).fill('NETFILTER_DROP'),
    ),
  );
});
