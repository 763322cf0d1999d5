import type { Connection } from '#policies/connection.ts';
import { decideBoth } from '#policies/decide.ts';
import { addressEnd, connectionOf, podEnd } from '#policies/ends.ts';
import type { Policy } from '#policies/model.ts';
import { parseAddress } from '#policies/network.ts';
import { podFacts } from '#policies/objects.ts';
import { parsePolicy } from '#policies/parse_policy.ts';
import { POLICIES_MAX, PolicySet } from '#policies/policy_set.ts';
import { cpuMs, median, type Row } from './measure.ts';

/** Numbers of policies in the namespace of each end. Most real namespaces have fewer than ten. */
const SIZES = [1, 10, 100, 500] as const;
const CLUSTER_POLICIES = 10;
const DECISIONS = 2_000;
const MIN_DECISIONS = 50;
const RUNS = 20;
const MICROSECONDS_PER_MS = 1_000;

/** A policy that selects every fourth Pod, and allows two ports from Pods with a label or from a network. */
function networkPolicy(index: number, namespace: string): object {
  const rule = (peers: object) => ({
    ...peers,
    ports: [{ port: 8_000 + index }, { port: 'metrics', protocol: 'TCP' }],
  });
  const peers = [
    { namespaceSelector: { matchLabels: { team: `t${index}` } }, podSelector: { matchLabels: { app: `a${index}` } } },
    { ipBlock: { cidr: '10.0.0.0/8', except: [`10.${index % 250}.0.0/16`] } },
  ];
  return {
    metadata: { name: `p${index}`, namespace },
    spec: {
      podSelector: { matchExpressions: [{ key: 'app', operator: 'In', values: [`a${index}`, 'a0'] }] },
      policyTypes: ['Ingress', 'Egress'],
      ingress: [rule({ from: peers })],
      egress: [rule({ to: peers })],
    },
  };
}

function clusterPolicy(index: number): object {
  const peers = [{ namespaces: { matchLabels: { tenant: `x${index}` } } }];
  return {
    metadata: { name: `c${index}` },
    spec: {
      tier: 'Admin',
      priority: index,
      subject: { namespaces: {} },
      ingress: [{ action: 'Deny', from: peers }],
      egress: [{ action: 'Deny', to: [...peers, { networks: ['192.0.2.0/24'] }] }],
    },
  };
}

function policies(count: number): Policy[] {
  return ['shop', 'data'].flatMap((namespace) =>
    Array.from({ length: count }, (_, index) => parsePolicy('NetworkPolicy', networkPolicy(index, namespace))),
  );
}

function connection(isKnown: boolean): Connection {
  const pod = (namespace: string, ip: string) =>
    podFacts({
      metadata: { name: 'p', namespace, labels: { app: 'a0', 'pod-template-hash': 'x', tier: 'web' } },
      spec: { nodeName: 'n', containers: [{ ports: [{ name: 'metrics', containerPort: 9_102 }] }] },
      status: { podIP: ip, hostIP: '192.168.0.1' },
    });
  const server = podEnd(pod('data', '10.1.0.2'), { team: 'data' });
  const address = parseAddress('10.2.0.3');
  if (address === undefined) throw new Error('not an address');
  const client = isKnown ? podEnd(pod('shop', '10.2.0.3'), { team: 'shop' }) : addressEnd(address, false, undefined);
  return connectionOf(client, server, 'TCP', 5_432);
}

async function decisionMicroseconds(set: PolicySet, asked: Connection): Promise<number> {
  const decisions = Math.max(MIN_DECISIONS, Math.ceil(DECISIONS / set.size));
  const decideAll = () => {
    for (let done = 0; done < decisions; done++) decideBoth(set, asked);
  };
  await cpuMs(RUNS, decideAll);
  return (median(await cpuMs(RUNS, decideAll)) * MICROSECONDS_PER_MS) / decisions;
}

/** Measures the time to decide about both directions of a connection, and the time to parse policies. */
export async function benchPolicies(): Promise<Row[]> {
  const bench = 'policies';
  const cluster = Array.from({ length: CLUSTER_POLICIES }, (_, index) =>
    parsePolicy('ClusterNetworkPolicy', clusterPolicy(index)),
  );
  const rows: Row[] = [];
  for (const size of SIZES) {
    const set = new PolicySet([...policies(size), ...cluster]);
    const what = `decision about both directions, ${size} in each namespace`;
    rows.push({ bench, what, value: await decisionMicroseconds(set, connection(true)), unit: 'us' });
  }
  const set = new PolicySet([...policies(10), ...cluster]);
  const value = await decisionMicroseconds(set, connection(false));
  rows.push({ bench, what: 'the same with 10, from an address', value, unit: 'us' });
  const objects = Array.from({ length: POLICIES_MAX }, (_, index) => networkPolicy(index, `n${index % 500}`));
  const parsed = await cpuMs(3, () => new PolicySet(objects.map((object) => parsePolicy('NetworkPolicy', object))));
  rows.push({ bench, what: `parsing of ${POLICIES_MAX} policies`, value: median(parsed), unit: 'ms' });
  return rows;
}
