import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Exposition } from '../support/exposition.ts';
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

/** Bytes of each transfer. A sum shows the number of transfers of each family. */
const BYTES = { ipv4: 1_000, ipv6: 1 } as const;
/** Bytes of a transfer over each family. */
const BOTH = BYTES.ipv4 + BYTES.ipv6;
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

  it('the server sees the Pod behind a masqueraded address, and the node while there are several', async () => {
    const { senders, pods } = scene;
    await using agent = await openAgent();
    const fromEach =
      (...from: readonly Sender[]) =>
      async () => {
        for (const family of FAMILIES) {
          for (const sender of from) await sender.send(pods.web.address[family], BYTES[family]);
        }
      };
    const [cart, mail] = [scene.nameOf('cart'), scene.nameOf('mail')];
    for (const [intervals, send, bytes, state] of [
      [WAIT, fromEach(senders.cart), { [NODE]: 2 }, 'pending'],
      [3, fromEach(senders.cart), { [NODE]: 2, [cart]: 3 }, 'resolved'],
      [1, fromEach(senders.mail), { [NODE]: 3, [cart]: 3 }, 'mixed'],
      [1, fromEach(senders.mail), { [NODE]: 3, [cart]: 3, [mail]: 1 }, 'resolved'],
      [1, fromEach(senders.mail, senders.cart), { [NODE]: 5, [cart]: 3, [mail]: 1 }, 'mixed'],
      [1, fromEach(senders.mail, senders.node), { [NODE]: 7, [cart]: 3, [mail]: 1 }, 'mixed'],
      [2, fromEach(senders.node), { [NODE]: 9, [cart]: 3, [mail]: 1 }, 'direct'],
    ] as const) {
      const page = await play(agent, intervals, send);
      const expected = Object.fromEntries(Object.entries(bytes).map(([name, count]) => [name, count * BOTH]));
      expect(scene.bytesOf(page, 'web', 'server', PORTS.masqueraded)).toEqual(expected);
      expect(statesOf(page)).toEqual({ [state]: FAMILIES.length });
    }
  });

  describe('with connections of many kinds', () => {
    const TIMES = WAIT + 2;
    const opened = new AsyncDisposableStack();
    let page: Exposition;

    beforeAll(async () => {
      const { senders, pods, node } = scene;
      const { web, mail, node: host } = senders;
      const agent = opened.use(await openAgent({ loopback: true }));
      const held = opened.use(await Sender.start(pods.mail.netns, PORTS.masqueraded));
      page = await play(agent, TIMES, async () => {
        for (const family of FAMILIES) {
          const bytes = BYTES[family];
          const [to, own] = [pods.web.address[family], node.address[family]];
          await held.sendOn(family, to, bytes);
          await mail.send(own, bytes, NODE_PORT);
          for (let nth = 0; nth < 2; nth++) await mail.send(own, bytes, NODE_BALANCED);
          for (let nth = 0; nth < 2; nth++) await mail.send(SERVICE[family], bytes, PORTS.balanced);
          await mail.send(NOBODYS[family], bytes, PORTS.published);
          for (let nth = 0; nth < 2; nth++) await mail.send(NOBODYS[family], bytes, PORTS.balanced);
          await web.send(own, bytes, HAIRPIN);
          await host.send(to, bytes, PORTS.direct);
          await host.send(to, bytes, PORTS.untracked);
        }
      });
    });

    afterAll(() => opened.disposeAsync());

    it('the server sees the Pod behind connections that stay open', () => {
      expect(scene.bytesOf(page, 'web', 'server', PORTS.masqueraded)).toEqual({
        [NODE]: WAIT * BOTH,
        [scene.nameOf('mail')]: 2 * BOTH,
      });
    });

    it('the client of a published port sees the Pod behind it, and the node if there are several', () => {
      expect(scene.bytesOf(page, 'mail', 'client', NODE_PORT)).toEqual({
        [NODE]: WAIT * BOTH,
        [scene.nameOf('web')]: 2 * BOTH,
      });
      expect(scene.bytesOf(page, 'mail', 'client', NODE_BALANCED)).toEqual({ [NODE]: 2 * TIMES * BOTH });
    });

    it('a Service stays the peer of its clients, and an address that nothing has stays unknown if several Pods are behind it', () => {
      expect(scene.bytesOf(page, 'mail', 'client', PORTS.balanced)).toEqual({
        'service web': 2 * TIMES * BOTH,
        unknown: 2 * TIMES * BOTH,
      });
    });

    it('an address that nothing has leads to the Pod behind it', () => {
      expect(scene.bytesOf(page, 'mail', 'client', PORTS.published)).toEqual({
        unknown: WAIT * BOTH,
        [scene.nameOf('web')]: 2 * BOTH,
      });
    });

    it('the Pods behind an address see its clients', () => {
      const mail = scene.nameOf('mail');
      expect(scene.bytesOf(page, 'web', 'server', PORTS.published)).toEqual({ [mail]: 2 * TIMES * BOTH });
      for (const pod of ['web', 'cart'] as const) {
        expect(scene.bytesOf(page, pod, 'server', NODE_BALANCED)).toEqual({ [mail]: TIMES * BOTH });
        expect(scene.bytesOf(page, pod, 'server', PORTS.balanced)).toEqual({ [mail]: 2 * TIMES * BOTH });
      }
    });

    it('a Pod that reaches itself through the node is its own peer', () => {
      for (const role of ['client', 'server'] as const) {
        expect(scene.bytesOf(page, 'web', role, HAIRPIN)).toEqual({ [NODE]: WAIT * BOTH, self: 2 * BOTH });
      }
    });

    it('the node stays the peer where it is the real end, and where connections are not tracked', () => {
      for (const port of [PORTS.direct, PORTS.untracked]) {
        expect(scene.bytesOf(page, 'web', 'server', port)).toEqual({ [NODE]: TIMES * BOTH });
      }
    });

    it('each peer that may be translated is counted in its state', () => {
      // A client in the namespace of the node is not shown with a Pod.
      expect(statesOf(page)).toEqual({ resolved: 10, mixed: 4, direct: 2, untracked: 2 });
    });
  });

  it('no byte has a wrong name while Pods take turns during scrapes', async () => {
    const { senders, pods } = scene;
    await using agent = await openAgent();
    const truth = new Map<string, number>();
    const port = PORTS.masqueraded;
    let random = process.pid;
    const upTo = (max: number) => {
      random = (random * 48_271) % 0x7fff_ffff;
      return random % max;
    };
    const send = async (client: PodName | 'node', held?: Sender) => {
      const bytes = 1 + upTo(1_000);
      const family = FAMILIES[upTo(FAMILIES.length)] ?? 'ipv4';
      const to = pods.web.address[family];
      await (held === undefined ? senders[client].send(to, bytes) : held.sendOn(family, to, bytes));
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
