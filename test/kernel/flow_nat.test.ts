import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Sender } from '../support/flow_sender.ts';
import { OBJECTS, only, probesOf, type TestKernel } from '../support/kernel.ts';
import { objectsWithoutLookup, packetPrograms } from '../support/nat_node.ts';
import {
  HAIRPIN,
  NatScene,
  NOBODYS,
  NODE,
  NODE_BALANCED,
  NODE_PORT,
  PORTS,
  type PodName,
  play,
  SERVICE,
  statesOf,
} from '../support/nat_scene.ts';
import { eventually } from '../support/oracle.ts';
import { FAMILIES } from '../support/scene.ts';

const BYTES = 1_000;
/** Intervals until a new edge has its real end. */
const WAIT = 2;
/** Turns of the Pods, and scrapes in each. During the second half of a turn, others send, too. */
const [TURNS, SCRAPES] = [10, 12];

const resources = new AsyncDisposableStack();
let scene: NatScene;

beforeAll(async () => {
  scene = await NatScene.open(resources);
  scene.translate();
});

afterAll(() => resources.disposeAsync());

describe.each([
  ['all at once', () => OBJECTS, 1],
  ['one by one', () => objectsWithoutLookup(resources), 0],
])('connections are looked up %s', (_, objects, programs) => {
  const openAgent = (options: object = {}): Promise<TestKernel> => scene.openAgent(options, { objects: objects() });

  it(`with ${programs} programs of the type of tc while the probe is on`, async () => {
    await using agent = await openAgent();
    expect(packetPrograms()).toBe(programs);
    await agent.kernel.configure(probesOf(only({ tcpconnect: true })));
    expect(packetPrograms()).toBe(0);
  });

  describe.each(FAMILIES)('over %s', (family) => {
    it('the server sees the Pod behind a masqueraded address, and the node while there are several', async () => {
      const { senders, pods } = scene;
      await using agent = await openAgent();
      const to = pods.web.address[family];
      const fromEach =
        (...from: readonly Sender[]) =>
        async () => {
          for (const sender of from) await sender.send(to, BYTES);
        };
      const [cart, mail] = [scene.nameOf('cart'), scene.nameOf('mail')];
      for (const [intervals, send, bytes, states] of [
        [WAIT, fromEach(senders.cart), { [NODE]: 2 }, { pending: 1 }],
        [3, fromEach(senders.cart), { [NODE]: 2, [cart]: 3 }, { resolved: 1 }],
        [1, fromEach(senders.mail), { [NODE]: 3, [cart]: 3 }, { mixed: 1 }],
        [1, fromEach(senders.mail), { [NODE]: 3, [cart]: 3, [mail]: 1 }, { resolved: 1 }],
        [1, fromEach(senders.mail, senders.cart), { [NODE]: 5, [cart]: 3, [mail]: 1 }, { mixed: 1 }],
        [1, fromEach(senders.mail, senders.node), { [NODE]: 7, [cart]: 3, [mail]: 1 }, { mixed: 1 }],
        [2, fromEach(senders.node), { [NODE]: 9, [cart]: 3, [mail]: 1 }, { direct: 1 }],
      ] as const) {
        const page = await play(agent, intervals, send);
        const expected = Object.fromEntries(Object.entries(bytes).map(([name, count]) => [name, count * BYTES]));
        expect(scene.bytesOf(page, 'web', 'server', PORTS.masqueraded)).toEqual(expected);
        expect(statesOf(page)).toEqual(states);
      }
    });

    it('the server also sees the Pod behind connections that stay open', async () => {
      const { pods } = scene;
      await using agent = await openAgent();
      await using held = await Sender.start(pods.mail.netns, PORTS.masqueraded);
      const page = await play(agent, WAIT + 4, () => held.sendOn('one', pods.web.address[family], BYTES));
      expect(scene.bytesOf(page, 'web', 'server', PORTS.masqueraded)).toEqual({
        [NODE]: WAIT * BYTES,
        [scene.nameOf('mail')]: 4 * BYTES,
      });
    });

    it('the client of a published port sees the Pod behind it, and the node if there are several', async () => {
      const { senders, node } = scene;
      await using agent = await openAgent();
      const page = await play(agent, WAIT + 2, async () => {
        await senders.mail.send(node.address[family], BYTES, NODE_PORT);
        for (let nth = 0; nth < 2; nth++) await senders.mail.send(node.address[family], BYTES, NODE_BALANCED);
      });
      expect(scene.bytesOf(page, 'mail', 'client', NODE_PORT)).toEqual({
        [NODE]: WAIT * BYTES,
        [scene.nameOf('web')]: 2 * BYTES,
      });
      expect(scene.bytesOf(page, 'mail', 'client', NODE_BALANCED)).toEqual({ [NODE]: 2 * (WAIT + 2) * BYTES });
      const served = { [scene.nameOf('mail')]: (WAIT + 2) * BYTES };
      expect(scene.bytesOf(page, 'web', 'server', PORTS.published)).toEqual(served);
      for (const pod of ['web', 'cart'] as const) {
        expect(scene.bytesOf(page, pod, 'server', NODE_BALANCED)).toEqual(served);
      }
      expect(statesOf(page)).toEqual({ resolved: 1, mixed: 1 });
    });

    it('a Service stays the peer of its clients, and its Pods see the clients', async () => {
      const { senders } = scene;
      await using agent = await openAgent();
      const page = await play(agent, WAIT + 2, async () => {
        for (let nth = 0; nth < 2; nth++) await senders.mail.send(SERVICE[family], BYTES, PORTS.balanced);
      });
      expect(scene.bytesOf(page, 'mail', 'client', PORTS.balanced)).toEqual({
        'service web': 2 * (WAIT + 2) * BYTES,
      });
      for (const pod of ['web', 'cart'] as const) {
        expect(scene.bytesOf(page, pod, 'server', PORTS.balanced)).toEqual({
          [scene.nameOf('mail')]: (WAIT + 2) * BYTES,
        });
      }
      expect(statesOf(page)).toEqual({});
    });

    it('an address that nothing has leads to the Pod behind it, and stays unknown if there are several', async () => {
      const { senders } = scene;
      await using agent = await openAgent();
      const page = await play(agent, WAIT + 2, async () => {
        await senders.mail.send(NOBODYS[family], BYTES, PORTS.published);
        for (let nth = 0; nth < 2; nth++) await senders.mail.send(NOBODYS[family], BYTES, PORTS.balanced);
      });
      expect(scene.bytesOf(page, 'mail', 'client', PORTS.published)).toEqual({
        unknown: WAIT * BYTES,
        [scene.nameOf('web')]: 2 * BYTES,
      });
      expect(scene.bytesOf(page, 'mail', 'client', PORTS.balanced)).toEqual({ unknown: 2 * (WAIT + 2) * BYTES });
    });

    it('a Pod that reaches itself through the node is its own peer', async () => {
      const { senders, node } = scene;
      await using agent = await openAgent({ loopback: true });
      const page = await play(agent, WAIT + 2, () => senders.web.send(node.address[family], BYTES, HAIRPIN));
      for (const role of ['client', 'server'] as const) {
        expect(scene.bytesOf(page, 'web', role, HAIRPIN)).toEqual({ [NODE]: WAIT * BYTES, self: 2 * BYTES });
      }
    });

    it('the node stays the peer where it is the real end, and where connections are not tracked', async () => {
      const { senders, pods } = scene;
      await using agent = await openAgent();
      const page = await play(agent, WAIT + 2, async () => {
        await senders.node.send(pods.web.address[family], BYTES, PORTS.direct);
        await senders.node.send(pods.web.address[family], BYTES, PORTS.untracked);
      });
      for (const port of [PORTS.direct, PORTS.untracked]) {
        expect(scene.bytesOf(page, 'web', 'server', port)).toEqual({ [NODE]: (WAIT + 2) * BYTES });
      }
      // The client is in the namespace of the node, and is not shown with a Pod.
      expect(statesOf(page)).toMatchObject({ direct: 1, untracked: 1 });
    });

    it('no byte has a wrong name while Pods take turns during scrapes', async () => {
      const { senders, pods } = scene;
      await using agent = await openAgent();
      const truth = new Map<string, number>();
      const [to, port] = [pods.web.address[family], PORTS.masqueraded];
      let random = process.pid;
      const upTo = (max: number) => {
        random = (random * 48_271) % 0x7fff_ffff;
        return random % max;
      };
      const send = async (client: PodName | 'node', held?: Sender) => {
        const bytes = 1 + upTo(BYTES);
        await (held === undefined ? senders[client].send(to, bytes) : held.sendOn('one', to, bytes));
        const name = client === 'node' ? NODE : scene.nameOf(client);
        truth.set(name, (truth.get(name) ?? 0) + bytes);
      };
      const shown = async () => scene.bytesOf(await agent.page(), 'web', 'server', port);
      for (let turn = 0; turn < TURNS; turn++) {
        const pod = turn % 2 === 0 ? 'cart' : 'mail';
        await using held = upTo(2) === 0 ? await Sender.start(pods[pod].netns, port) : undefined;
        for (let scrape = 0; scrape < SCRAPES; scrape++) {
          const others = scrape < SCRAPES / 2 ? ([pod] as const) : (['cart', 'mail', 'node'] as const);
          const sends = Array.from({ length: 4 }, () => send(others[upTo(others.length)] ?? pod));
          if (held !== undefined) sends.push(send(pod, held));
          const [bytes] = await Promise.all([shown(), ...sends]);
          for (const name of [scene.nameOf('cart'), scene.nameOf('mail')]) {
            expect(bytes[name] ?? 0, name).toBeLessThanOrEqual(truth.get(name) ?? 0);
          }
        }
      }
      const sum = (values: Iterable<number>) => [...values].reduce((total, bytes) => total + bytes, 0);
      await eventually(async () => {
        const bytes = await shown();
        expect(sum(Object.values(bytes))).toBe(sum(truth.values()));
        expect(Object.keys(bytes).sort()).toEqual([NODE, scene.nameOf('cart'), scene.nameOf('mail')].sort());
      });
    });
  });
});
