/** Plan of the shop: machines, workloads and Services, with their addresses. */

export type NodeName = 'node-a' | 'node-b';

export interface NodePlan {
  readonly name: NodeName;
  readonly ip: string;
  /** The first three octets of the Pods' network. */
  readonly subnet: string;
  readonly zone: string;
}

export const NODES: readonly NodePlan[] = [
  { name: 'node-a', ip: '172.30.0.11', subnet: '10.244.1', zone: 'eu-1a' },
  { name: 'node-b', ip: '172.30.0.12', subnet: '10.244.2', zone: 'eu-1b' },
];

/** The router's address. */
export const ROUTER_IP = '172.30.0.1';
export const NODES_NETWORK = '172.30.0.0/24';
export const PODS_NETWORK = '10.244.0.0/16';
export const SERVICES_NETWORK = '10.96.0.0/16';
/**
 * Address at which clients outside of the cluster reach the gateway. No host has this address; the nodes translate it.
 */
export const SHOP_IP = '203.0.113.10';
export const NODE_PORT = 30_080;
export const PAYMENTS_NAME = 'payments.example';
export const SHOP_NAME = 'shop.example';

export interface PortPlan {
  readonly name: string;
  readonly port: number;
  /** Port on which the Pods listen. */
  readonly target: number;
  readonly protocol: 'TCP' | 'UDP';
}

export interface ServicePlan {
  readonly name: string;
  readonly ip: string;
  readonly ports: readonly PortPlan[];
  /** Whether outside clients reach the Service at `SHOP_IP` and at `NODE_PORT` of each node. */
  readonly isPublic?: boolean;
}

export type WorkloadKind = 'Deployment' | 'StatefulSet' | 'CronJob' | 'DaemonSet';

/** Program that runs in a workload's Pods. `app` is the program of the shop with the same name as the workload. */
export type Engine = 'app' | 'nginx' | 'postgres' | 'redis' | 'dnsmasq' | 'agent';

export interface WorkloadPlan {
  readonly namespace: string;
  readonly name: string;
  readonly kind: WorkloadKind;
  readonly engine: Engine;
  /** The nodes on which the Pods run, one entry per Pod. */
  readonly nodes: readonly NodeName[];
  readonly service?: ServicePlan;
}

const tcp = (name: string, port: number, target = port): PortPlan => ({ name, port, target, protocol: 'TCP' });

/** Workloads in the order in which they start. */
export const WORKLOADS: readonly WorkloadPlan[] = [
  {
    namespace: 'kube-system',
    name: 'coredns',
    kind: 'Deployment',
    engine: 'dnsmasq',
    nodes: ['node-a'],
    service: {
      name: 'kube-dns',
      ip: '10.96.0.10',
      ports: [{ name: 'dns', port: 53, target: 53, protocol: 'UDP' }, tcp('dns-tcp', 53)],
    },
  },
  {
    namespace: 'data',
    name: 'postgres',
    kind: 'StatefulSet',
    engine: 'postgres',
    nodes: ['node-b'],
    service: { name: 'postgres', ip: '10.96.1.1', ports: [tcp('sql', 5_432)] },
  },
  {
    namespace: 'data',
    name: 'redis',
    kind: 'StatefulSet',
    engine: 'redis',
    nodes: ['node-b'],
    service: { name: 'redis', ip: '10.96.1.2', ports: [tcp('redis', 6_379)] },
  },
  app('catalog', ['node-a', 'node-a'], '10.96.1.3'),
  app('search', ['node-b'], '10.96.1.4'),
  {
    namespace: 'shop',
    name: 'cart',
    kind: 'Deployment',
    engine: 'app',
    nodes: ['node-a'],
    service: { name: 'cart', ip: '10.96.1.5', ports: [tcp('grpc', 50_051)] },
  },
  app('orders', ['node-b'], '10.96.1.6'),
  app('checkout', ['node-a', 'node-b'], '10.96.1.7'),
  app('storefront', ['node-a', 'node-b'], '10.96.1.8'),
  { namespace: 'shop', name: 'mailer', kind: 'Deployment', engine: 'app', nodes: ['node-a'] },
  { namespace: 'shop', name: 'reports', kind: 'CronJob', engine: 'app', nodes: ['node-b'] },
  {
    namespace: 'edge',
    name: 'gateway',
    kind: 'Deployment',
    engine: 'nginx',
    nodes: ['node-a', 'node-b'],
    service: { name: 'gateway', ip: '10.96.1.9', ports: [tcp('http', 80, 8_080)], isPublic: true },
  },
];

/** The agents, one on each node. They use their node's network. */
export const AGENTS: WorkloadPlan = {
  namespace: 'netsonde',
  name: 'netsonde',
  kind: 'DaemonSet',
  engine: 'agent',
  nodes: NODES.map(({ name }) => name),
};

function app(name: string, nodes: readonly NodeName[], ip: string): WorkloadPlan {
  const service = { name, ip, ports: [tcp('http', 80, 8_080)] };
  return { namespace: 'shop', name, kind: 'Deployment', engine: 'app', nodes, service };
}

export interface OutsidePlan {
  readonly name: 'dns' | 'payments' | 'browser' | 'partner';
  readonly ip: string;
}

/** Hosts outside of the cluster. `browser` and `partner` are clients of the shop, and `payments` is a server. */
export const OUTSIDE: readonly OutsidePlan[] = [
  { name: 'dns', ip: '192.0.2.53' },
  { name: 'payments', ip: '192.0.2.80' },
  { name: 'browser', ip: '198.51.100.20' },
  { name: 'partner', ip: '198.51.100.30' },
];

export function outsideIp(name: OutsidePlan['name']): string {
  return OUTSIDE.find((host) => host.name === name)?.ip ?? '';
}

export function nodePlan(name: NodeName): NodePlan {
  const found = NODES.find((node) => node.name === name);
  if (found === undefined) throw new Error(`there is no ${name}`);
  return found;
}

/** Returns the name of a Service in the cluster's DNS. */
export function dnsName(namespace: string, service: string): string {
  return `${service}.${namespace}.svc.cluster.local`;
}
