import { randomBytes } from 'node:crypto';
import { run } from '../support/command.ts';
import type { Machine } from './machine.ts';
import {
  dnsName,
  NODE_PORT,
  NODES,
  NODES_NETWORK,
  type NodePlan,
  outsideIp,
  PAYMENTS_NAME,
  PODS_NETWORK,
  type PortPlan,
  ROUTER_IP,
  SERVICES_NETWORK,
  SHOP_IP,
  SHOP_NAME,
  type WorkloadPlan,
} from './plan.ts';

/** Address of each machine on the links to its Pods. It has the scope `link`, so masquerading does not use it. */
const GATEWAY = '169.254.1.1';

/** A Service with the addresses of its Pods. */
export interface Backends {
  readonly plan: WorkloadPlan;
  readonly ips: readonly string[];
}

/**
 * Returns a shell script that creates a network namespace with one device `eth0`, which is connected to the machine by
 * a veth pair. As with Calico, all packets are routed, so packets to a Service always pass through the machine's
 * connection tracking. The gateway has the same address for all Pods.
 * @param own address of the machine
 */
export function addNamespace(name: string, ip: string, own: string): string {
  const port = `veth${randomBytes(4).toString('hex')}`;
  // Waits for the carrier, which the kernel sets asynchronously, because both ends discard packets until then. Reduces
  // the number of retries for closed sockets: a closed socket whose peer does not respond keeps its namespace alive,
  // which with the default number would be minutes longer than the shop.
  return `
ip netns add ${name}
nsenter --net=/run/netns/${name} sysctl -qw net.ipv4.ip_forward=0 net.ipv4.tcp_orphan_retries=1 \
  net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
ip link add eth0 netns ${name} type veth peer name ${port}
ip -n ${name} -batch - <<END
link set lo up
addr add ${ip}/32 dev eth0
link set eth0 up
route add ${GATEWAY} dev eth0 scope link
route add default via ${GATEWAY}
END
ip -batch - <<END
addr add ${GATEWAY}/32 dev ${port} scope link
link set ${port} up
route add ${ip}/32 dev ${port} scope link src ${own}
END
until ip -n ${name} link show eth0 | grep -q 'state UP'; do sleep 0.02; done
`;
}

/** Connects a node to the router, and adds routes to the Pods of the node. */
export async function connectNode({ name, ip, subnet }: NodePlan, node: Machine, router: Machine): Promise<void> {
  run('ip', 'link', 'add', 'eth0', 'netns', `${node.pid}`, 'type', 'veth', 'peer', name, 'netns', `${router.pid}`);
  await router.run(`ip -batch - <<END
addr add ${ROUTER_IP}/32 dev ${name}
link set ${name} up
route add ${ip}/32 dev ${name} scope link
route add ${subnet}.0/24 via ${ip} dev ${name} onlink
END`);
  await node.run(`ip -batch - <<END
addr add ${ip}/32 dev eth0
link set eth0 up
route add ${ROUTER_IP} dev eth0 scope link
route add default via ${ROUTER_IP}
END
until ip link show eth0 | grep -q 'state UP'; do sleep 0.02; done`);
}

/** Distributes connections to the shop's address from outside of the cluster over all nodes, by their ports. */
export async function announceShop(router: Machine): Promise<void> {
  const hops = NODES.map(({ name, ip }) => `nexthop via ${ip} dev ${name} onlink`).join(' ');
  await router.run(`ip route add ${SHOP_IP}/32 ${hops}`);
}

/** Returns the nftables rules of a node: those of a small kube-proxy, with the names that the real one uses. */
export function serviceRules({ ip, subnet }: NodePlan, services: readonly Backends[]): string {
  const chains: string[] = [];
  const rules: string[] = [];
  for (const { plan, ips } of services) {
    const { service } = plan;
    if (service === undefined || ips.length === 0) continue;
    for (const port of service.ports) {
      const chain = `service-${service.name}-${port.name}`;
      chains.push(balance(chain, ips, port));
      const match = `${port.protocol.toLowerCase()} dport`;
      rules.push(`ip daddr ${service.ip} ${match} ${port.port} goto ${chain}`);
      if (service.isPublic !== true) continue;
      // With the external traffic policy `Local`, the Pods see the client's address, and only Pods on the node are
      // used.
      const local = ips.filter((each) => each.startsWith(`${subnet}.`));
      if (local.length > 0) {
        chains.push(balance(`external-${service.name}-${port.name}`, local, port));
        rules.push(`ip daddr ${SHOP_IP} ${match} ${port.port} goto external-${service.name}-${port.name}`);
      }
      rules.push(`ip daddr ${ip} ${match} ${NODE_PORT} meta mark set 0x4000 goto ${chain}`);
    }
  }
  const cluster = `{ ${PODS_NETWORK}, ${SERVICES_NETWORK}, ${NODES_NETWORK} }`;
  return `table ip kube-proxy {
${chains.join('\n')}
  chain services {
    ${rules.join('\n    ')}
  }
  chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
  chain nat-output { type nat hook output priority -100; jump services; }
  chain nat-postrouting {
    type nat hook postrouting priority srcnat;
    meta mark & 0x4000 == 0x4000 masquerade
    ip saddr ${subnet}.0/24 ip daddr != ${cluster} oifname "eth0" masquerade
  }
}
`;
}

/** Returns nftables chains that choose one of the Pods for each connection at random. */
function balance(chain: string, ips: readonly string[], { target, protocol }: PortPlan): string {
  const to = (ip: string) => `meta l4proto ${protocol.toLowerCase()} dnat to ${ip}:${target}`;
  const ends = ips.map((ip, index) => `  chain ${chain}-${index} { ${to(ip)}; }`);
  const verdicts = ips.map((_, index) => `${index} : goto ${chain}-${index}`).join(', ');
  return [...ends, `  chain ${chain} { numgen random mod ${ips.length} vmap { ${verdicts} }; }`].join('\n');
}

/**
 * Returns the options of the cluster's DNS server, which answers for Services and forwards other names to a DNS server
 * outside of the cluster.
 */
export function clusterRecords(workloads: readonly WorkloadPlan[]): string[] {
  const records = workloads.flatMap(({ namespace, service }) =>
    service === undefined ? [] : [`--host-record=${dnsName(namespace, service.name)},${service.ip}`],
  );
  return ['--local=/cluster.local/', `--server=${outsideIp('dns')}`, ...records];
}

export function outsideRecords(): string[] {
  return [
    '--local=/example/',
    `--host-record=${PAYMENTS_NAME},${outsideIp('payments')}`,
    `--host-record=${SHOP_NAME},${SHOP_IP}`,
  ];
}

/** Returns the resolv.conf that the kubelet would write for a Pod. */
export function podResolver(namespace: string, nameserver: string): string {
  const domain = 'svc.cluster.local';
  return `nameserver ${nameserver}\nsearch ${namespace}.${domain} ${domain} cluster.local\noptions ndots:5\n`;
}
