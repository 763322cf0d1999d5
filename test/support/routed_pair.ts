import { sh } from './command.ts';
import { TestNetns, uniqueName } from './hosts.ts';

/** MTU below that of the devices at both ends. IPv6 requires at least 1,280. */
export const NARROW_MTU = 1_300;

/**
 * Two namespaces with a router between them. The router's link to the second namespace has a smaller MTU than the
 * devices of the ends.
 */
export class RoutedPair implements Disposable {
  readonly a: { readonly netns: TestNetns };
  readonly b: { readonly netns: TestNetns };
  readonly router: TestNetns;
  readonly addressA = { ipv4: '10.9.1.1', ipv6: 'fd09:1::1' };
  readonly addressB = { ipv4: '10.9.2.1', ipv6: 'fd09:2::1' };
  readonly #resources: DisposableStack;

  constructor() {
    using resources = new DisposableStack();
    this.a = { netns: resources.use(new TestNetns()) };
    this.b = { netns: resources.use(new TestNetns()) };
    this.router = resources.use(new TestNetns());
    this.router.exec('sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1');
    this.#connect(this.a.netns, 1);
    const narrow = this.#connect(this.b.netns, 2);
    this.router.ip(`link set ${narrow} mtu ${NARROW_MTU}`);
    // All neighbours are resolved now, because a SYN that has to wait for neighbour resolution would be retransmitted.
    for (const address of [this.addressB.ipv4, this.addressB.ipv6]) this.a.netns.exec(`ping -qc 1 -w 60 ${address}`);
    this.#resources = resources.move();
  }

  #connect(end: TestNetns, net: number): string {
    const [device, port] = [uniqueName('ve'), uniqueName('vr')];
    sh(`ip link add ${device} netns ${end.name} type veth peer name ${port} netns ${this.router.name}`);
    const configured = (name: string, host: number) => [
      'link set lo up',
      `addr add 10.9.${net}.${host}/24 dev ${name}`,
      `addr add fd09:${net}::${host}/64 dev ${name} nodad`,
      `link set ${name} up`,
    ];
    this.router.batch(...configured(port, 2));
    end.batch(...configured(device, 1), `route add default via 10.9.${net}.2`, `route add default via fd09:${net}::2`);
    return port;
  }

  [Symbol.dispose](): void {
    this.#resources.dispose();
  }
}
