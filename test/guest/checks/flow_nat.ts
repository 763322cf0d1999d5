import { deepEqual, equal } from 'node:assert/strict';
import { sh } from '../../support/command.ts';
import { OBJECTS } from '../../support/kernel.ts';
import { objectsWithoutLookup, packetPrograms } from '../../support/nat_node.ts';
import { NatScene, NOBODYS, NODE, NODE_PORT, PORTS, play, SERVICE, statesOf } from '../../support/nat_scene.ts';
import { FAMILIES } from '../../support/scene.ts';
import { defineChecks } from '../check.ts';
import { kernelFeatures } from '../features.ts';
import { expectUnsupported, NO_FETCHING_ATOMICS } from '../unsupported.ts';

const BYTES = 1_000;
/** Intervals until a new edge has its real end. */
const WAIT = 2;

interface Context {
  readonly scene: NatScene;
  /** Directories of objects with which connections are looked up all at once, and one by one. */
  readonly objects: readonly string[];
}

/** Adds virtual addresses that IPVS directs to the Pod `web`. */
function addVirtual({ node, pods }: NatScene): void {
  sh('modprobe -a ip_vs ip_vs_rr');
  for (const family of FAMILIES) {
    const at = (address: string) => (family === 'ipv4' ? address : `[${address}]`);
    for (const addresses of [NOBODYS, SERVICE]) {
      node.netns.ip(`addr add ${addresses[family]}/${family === 'ipv4' ? 32 : 128} dev lo`);
      const service = `${at(addresses[family])}:${PORTS.virtual}`;
      node.netns.exec(`ipvsadm -A -t ${service} -s rr`);
      node.netns.exec(`ipvsadm -a -t ${service} -r ${at(pods.web.address[family])}:${PORTS.virtual} -m`);
    }
  }
}

/** Wraps a check that needs the programs of `flow`. If they cannot be loaded, the probe must report the reason instead. */
const check = (play: (context: Context) => Promise<void>) => async (context: Context) => {
  if (kernelFeatures().fetchingAtomics) return play(context);
  await using agent = await context.scene.openAgent({});
  await expectUnsupported(agent, 'flow', NO_FETCHING_ATOMICS);
};

export const flowNat = defineChecks<Context>(
  'flow_nat',
  async (resources) => {
    const scene = await NatScene.open(resources);
    scene.translate();
    addVirtual(scene);
    return { scene, objects: [OBJECTS, objectsWithoutLookup(resources)] };
  },
  {
    'both ends see each other through nftables': check(async ({ scene, objects }) => {
      const { senders, pods, node } = scene;
      for (const [nth, directory] of objects.entries()) {
        for (const family of FAMILIES) {
          await using agent = await scene.openAgent({}, { objects: directory });
          equal(packetPrograms(), nth === 0 ? 1 : 0);
          const page = await play(agent, WAIT + 2, async () => {
            await senders.cart.send(pods.web.address[family], BYTES);
            await senders.mail.send(node.address[family], BYTES, NODE_PORT);
          });
          deepEqual(scene.bytesOf(page, 'web', 'server', PORTS.masqueraded), {
            [NODE]: WAIT * BYTES,
            [scene.nameOf('cart')]: 2 * BYTES,
          });
          deepEqual(scene.bytesOf(page, 'mail', 'client', NODE_PORT), {
            [NODE]: WAIT * BYTES,
            [scene.nameOf('web')]: 2 * BYTES,
          });
          deepEqual(statesOf(page), { resolved: 2 });
        }
      }
    }),

    'both ends see each other through IPVS that tracks connections': check(async ({ scene, objects }) => {
      const { senders } = scene;
      scene.node.netns.exec('sysctl -qw net.ipv4.vs.conntrack=1');
      for (const directory of objects) {
        for (const family of FAMILIES) {
          await using agent = await scene.openAgent({}, { objects: directory });
          const page = await play(agent, WAIT + 2, async () => {
            await senders.mail.send(NOBODYS[family], BYTES, PORTS.virtual);
            await senders.cart.send(SERVICE[family], BYTES, PORTS.virtual);
          });
          deepEqual(scene.bytesOf(page, 'mail', 'client', PORTS.virtual), {
            unknown: WAIT * BYTES,
            [scene.nameOf('web')]: 2 * BYTES,
          });
          deepEqual(scene.bytesOf(page, 'cart', 'client', PORTS.virtual), { 'service web': (WAIT + 2) * BYTES });
          deepEqual(scene.bytesOf(page, 'web', 'server', PORTS.virtual), {
            [scene.nameOf('mail')]: (WAIT + 2) * BYTES,
            [scene.nameOf('cart')]: (WAIT + 2) * BYTES,
          });
          deepEqual(statesOf(page), { resolved: 1 });
        }
      }
    }),

    'a virtual address stays unknown if IPVS tracks no connections': check(async ({ scene, objects }) => {
      scene.node.netns.exec('sysctl -qw net.ipv4.vs.conntrack=0');
      for (const directory of objects) {
        await using agent = await scene.openAgent({}, { objects: directory });
        const page = await play(agent, WAIT + 2, () => scene.senders.mail.send(NOBODYS.ipv4, BYTES, PORTS.virtual));
        deepEqual(scene.bytesOf(page, 'mail', 'client', PORTS.virtual), { unknown: (WAIT + 2) * BYTES });
        equal(statesOf(page)['resolved'], undefined);
      }
    }),
  },
);
