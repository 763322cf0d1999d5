import type { PeerIdentity } from '#probe/peer_identity.ts';
import { UNKNOWN_PEER } from '#probe/peers.ts';
import type { Exposition } from './exposition.ts';
import { Sender, startSink } from './flow_sender.ts';
import { only, TestKernel, type TestKernelOptions } from './kernel.ts';
import { NatNode, type NatPod } from './nat_node.ts';
import { FAMILIES } from './scene.ts';

/** Ports of the servers, whose connections the node treats differently. */
export const PORTS = {
  masqueraded: 7_660,
  published: 7_661,
  balanced: 7_662,
  direct: 7_663,
  untracked: 7_664,
  virtual: 7_665,
} as const;
/** Ports of the node that lead to one Pod, to several, and to the Pod `web` with the node's address as the source. */
export const [NODE_PORT, NODE_BALANCED, HAIRPIN] = [30_080, 30_081, 30_082];

/** Address that is known as that of a Service, and one that nothing is known to have. */
export const SERVICE = { ipv4: '10.9.41.1', ipv6: 'fd09:41::1' };
export const NOBODYS = { ipv4: '10.9.41.2', ipv6: 'fd09:41::2' };

/** Identity of the namespaces of other tests. */
const OTHERS: PeerIdentity = { kind: 'external', namespace: '', name: 'others' };
/** Name of the node, as bytes are counted by it. */
export const NODE = 'node test-node';

export type PodName = 'web' | 'cart' | 'mail';

/** A node that translates addresses, with three Pods. `web` and `cart` have servers. */
export class NatScene {
  readonly node: NatNode;
  readonly pods: Readonly<Record<PodName, NatPod>>;
  readonly senders: Readonly<Record<PodName | 'node', Sender>>;
  readonly #names: ReadonlyMap<string, PeerIdentity>;

  private constructor(
    node: NatNode,
    pods: Readonly<Record<PodName, NatPod>>,
    senders: Readonly<Record<PodName | 'node', Sender>>,
  ) {
    this.node = node;
    this.pods = pods;
    this.senders = senders;
    this.#names = new Map<string, PeerIdentity>([
      ...FAMILIES.flatMap((family) => [
        [node.address[family], { kind: 'node', namespace: '', name: 'test-node' }] as const,
        [SERVICE[family], { kind: 'service', namespace: 'shop', name: 'web' }] as const,
        [NOBODYS[family], UNKNOWN_PEER] as const,
        ...node.pods.map(
          ({ netns, address }) => [address[family], { kind: 'local', namespace: '', name: netns.name }] as const,
        ),
      ]),
    ]);
  }

  static async open(resources: AsyncDisposableStack): Promise<NatScene> {
    const node = resources.use(await NatNode.create(3));
    const [web, cart, mail] = node.pods as [NatPod, NatPod, NatPod];
    for (const { netns } of [web, cart]) {
      resources.use(await startSink(netns, [...Object.values(PORTS), NODE_BALANCED, HAIRPIN]));
    }
    const open = async ({ netns }: Pick<NatPod, 'netns'>) =>
      resources.use(await Sender.start(netns, PORTS.masqueraded));
    const senders = { web: await open(web), cart: await open(cart), mail: await open(mail), node: await open(node) };
    return new NatScene(node, { web, cart, mail }, senders);
  }

  /** Adds the rules of nftables. */
  translate(): void {
    const { node, pods } = this;
    const { masqueraded, published, balanced, untracked } = PORTS;
    for (const [family, ip] of [
      ['ipv4', 'ip'],
      ['ipv6', 'ip6'],
    ] as const) {
      const [web, cart] = [pods.web.address[family], pods.cart.address[family]];
      const to = (port: number) => (family === 'ipv4' ? `${web}:${port}` : `[${web}]:${port}`);
      const own = `${ip} daddr ${node.address[family]} tcp dport`;
      const either = `numgen inc mod 2 map { 0 : ${web}, 1 : ${cart} }`;
      node.nft(
        'prerouting',
        `${own} ${NODE_PORT} dnat ${ip} to ${to(published)}`,
        `${own} ${NODE_BALANCED} dnat ${ip} to ${either}`,
        `${own} ${HAIRPIN} dnat ${ip} to ${web}`,
        `${ip} daddr ${NOBODYS[family]} tcp dport ${published} dnat ${ip} to ${web}`,
        `${ip} daddr { ${SERVICE[family]}, ${NOBODYS[family]} } tcp dport ${balanced} dnat ${ip} to ${either}`,
      );
    }
    node.nft('postrouting', `tcp dport { ${masqueraded}, ${HAIRPIN} } masquerade`);
    node.nft('raw', `tcp dport ${untracked} notrack`, `tcp sport ${untracked} notrack`);
  }

  /** Opens an agent that shows only peers of the Pods as peers that may be translated, and begins an interval. */
  async openAgent(options: object = {}, more: TestKernelOptions = {}): Promise<TestKernel> {
    const agent = await TestKernel.open(only({ flow: { enabled: true, edges: 100, ...options } }), {
      identify: (ip) => this.#names.get(ip) ?? OTHERS,
      paths: { proc: this.node.proc },
      ...more,
    });
    await agent.page();
    return agent;
  }

  /** Returns the name of a Pod, as bytes are counted by it. */
  nameOf(pod: PodName): string {
    return `local ${this.pods[pod].netns.name}`;
  }

  /** Returns the bytes of a Pod's edges by kind and name of the peer. */
  bytesOf({ named }: Exposition, pod: PodName, role: 'client' | 'server', port: number): Record<string, number> {
    const metric = role === 'client' ? 'netsonde_flow_sent_bytes_total' : 'netsonde_flow_received_bytes_total';
    const { name } = this.pods[pod].netns;
    const sums: Record<string, number> = {};
    for (const { labels, value } of named.get(metric) ?? []) {
      if (labels['pod'] !== name || labels['role'] !== role || labels['port'] !== String(port) || value === '0')
        continue;
      const peer = [labels['peer_kind'], labels['peer']].filter((part) => part !== '').join(' ');
      sums[peer] = (sums[peer] ?? 0) + Number(value);
    }
    return sums;
  }
}

/** Sends in several intervals of an agent, and returns the page after the last one. */
export async function play(agent: TestKernel, intervals: number, send: () => Promise<void>): Promise<Exposition> {
  for (let interval = 1; interval < intervals; interval++) {
    await send();
    await agent.page();
  }
  await send();
  return await agent.page();
}

/** Returns the number of peers that may be translated, by state. */
export function statesOf(page: Exposition): Record<string, number> {
  return Object.fromEntries(
    (page.named.get('netsonde_flow_translated_peers') ?? [])
      .map(({ labels, value }) => [labels['state'] ?? '', Number(value)] as const)
      .filter(([, count]) => count > 0),
  );
}
