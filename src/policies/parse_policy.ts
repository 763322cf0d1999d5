import { checkFields, type Fields, firstDoubt, isFields, listOf } from './fields.ts';
import {
  ACTIONS,
  type Action,
  type ActionRule,
  CLUSTER_KINDS,
  type ClusterKind,
  type ClusterPolicy,
  type Direction,
  type NetworkPolicy,
  type Policy,
  type PortMatch,
  type Rule,
  type Tier,
} from './model.ts';
import { nameOf } from './objects.ts';
import { parseClusterPeer, parsePeer, parsePeers } from './parse_peers.ts';
import { parseAdminPort, parsePort, parseProtocol } from './parse_ports.ts';
import { parseSelector } from './parse_selector.ts';

/** Maximum length of a rule's name. */
const NAME_MAX = 100;
const PEERS = { ingress: 'from', egress: 'to' } as const;

export const POLICY_KINDS = ['NetworkPolicy', ...CLUSTER_KINDS] as const;
export type PolicyKind = (typeof POLICY_KINDS)[number];

/**
 * Parses a policy. A field that this version does not know makes the part of the policy that contains it unknown.
 * @throws if the object has no name
 */
export function parsePolicy(kind: PolicyKind, object: unknown): Policy {
  const { namespace, name } = nameOf(object, kind);
  const { spec } = isFields(object) ? object : {};
  return kind === 'NetworkPolicy' ? parseNetworkPolicy(namespace, name, spec) : parseClusterPolicy(kind, name, spec);
}

const TYPES: Readonly<Record<string, Direction>> = { Ingress: 'ingress', Egress: 'egress' };

function parseNetworkPolicy(namespace: string, name: string, spec: unknown): NetworkPolicy {
  const id = `NetworkPolicy/${namespace}/${name}`;
  const path = `${id} spec`;
  const { fields, doubt } = checkFields(spec, ['podSelector', 'ingress', 'egress', 'policyTypes'], path);
  const ingress = rulesOf(fields, 'ingress', path);
  const egress = rulesOf(fields, 'egress', path);
  const given = listOf(fields['policyTypes'], `${path}.policyTypes`);
  const types = given.items ?? [];
  const isUnknown = types.some((type) => typeof type !== 'string' || !Object.hasOwn(TYPES, type));
  // The default is the same as in pkg/apis/networking/v1/defaults.go of Kubernetes.
  const concerned = types.length > 0 ? types : ['Ingress', ...(egress.items.length > 0 ? ['Egress'] : [])];
  const rules = (direction: Direction, { items }: Rules) =>
    concerned.some((type) => TYPES[String(type)] === direction)
      ? items.map((rule, index) => parseRule(rule, namespace, direction, `${id} spec.${direction}[${index}]`, index))
      : undefined;
  return {
    kind: 'NetworkPolicy',
    id,
    namespace,
    pods: parseSelector(fields['podSelector'], `${path}.podSelector`),
    rules: { ingress: rules('ingress', ingress), egress: rules('egress', egress) },
    doubt: firstDoubt(doubt, ingress.doubt, egress.doubt, given.doubt, isUnknown ? `${path}.policyTypes` : undefined),
  };
}

interface Rules {
  readonly items: readonly unknown[];
  readonly doubt: string | undefined;
}

function rulesOf(fields: Fields, direction: Direction, path: string): Rules {
  const { items = [], doubt } = listOf(fields[direction], `${path}.${direction}`);
  return { items, doubt };
}

function parseRule(value: unknown, namespace: string, direction: Direction, path: string, index: number): Rule {
  const field = PEERS[direction];
  const { fields, doubt } = checkFields(value, ['ports', field], path);
  const ports = parsePorts(fields['ports'], `${path}.ports`, parsePort);
  return {
    place: `${direction}[${index}]`,
    ports,
    peers: parsePeers(fields[field], `${path}.${field}`, (peer, at) => parsePeer(peer, namespace, at)),
    doubt,
  };
}

function parsePorts(
  value: unknown,
  path: string,
  parse: (item: unknown, path: string) => PortMatch,
): readonly PortMatch[] | undefined {
  const { items, doubt } = listOf(value, path);
  if (doubt !== undefined) return [{ kind: 'doubt', reason: doubt }];
  return items === undefined || items.length === 0
    ? undefined
    : items.map((item, index) => parse(item, `${path}[${index}]`));
}

function parseClusterPolicy(kind: ClusterKind, name: string, spec: unknown): ClusterPolicy {
  const id = `${kind}/${name}`;
  const path = `${id} spec`;
  const isNew = kind === 'ClusterNetworkPolicy';
  const hasPriority = kind !== 'BaselineAdminNetworkPolicy';
  const known = ['subject', 'ingress', 'egress', ...(hasPriority ? ['priority'] : []), ...(isNew ? ['tier'] : [])];
  const { fields, doubt } = checkFields(spec, known, path);
  const priority = fields['priority'] ?? 0;
  const tier = tierOf(kind, fields['tier']);
  const directions = { ingress: rulesOf(fields, 'ingress', path), egress: rulesOf(fields, 'egress', path) };
  const rules = (direction: Direction) =>
    directions[direction].items.map((rule, index) =>
      parseActionRule(kind, rule, direction, `${id} spec.${direction}[${index}]`, index),
    );
  return {
    kind,
    id,
    tier: tier ?? 'admin',
    priority: typeof priority === 'number' ? priority : 0,
    subject: parseClusterPeer(fields['subject'], `${path}.subject`),
    rules: { ingress: rules('ingress'), egress: rules('egress') },
    doubt: firstDoubt(
      doubt,
      directions.ingress.doubt,
      directions.egress.doubt,
      tier === undefined ? `${path}.tier` : undefined,
      Number.isInteger(priority) ? undefined : `${path}.priority, which is malformed`,
    ),
  };
}

/** Returns the tier of a policy; undefined if this version does not know it. */
function tierOf(kind: ClusterKind, tier: unknown): Tier | undefined {
  if (kind === 'AdminNetworkPolicy' || tier === 'Admin') return 'admin';
  return kind === 'BaselineAdminNetworkPolicy' || tier === 'Baseline' ? 'baseline' : undefined;
}

const ACTION_NAMES: Readonly<Record<string, Action>> = {
  Accept: 'accept',
  Allow: 'accept',
  Deny: 'deny',
  Pass: 'pass',
};

function parseActionRule(
  kind: ClusterKind,
  value: unknown,
  direction: Direction,
  path: string,
  index: number,
): ActionRule {
  const field = PEERS[direction];
  const ports = kind === 'ClusterNetworkPolicy' ? 'protocols' : 'ports';
  const { fields, doubt } = checkFields(value, ['name', 'action', field, ports], path);
  const { name, action } = fields as { name?: unknown; action?: unknown };
  const known = typeof action === 'string' && Object.hasOwn(ACTION_NAMES, action) ? ACTION_NAMES[action] : undefined;
  const peers = parsePeers(fields[field], `${path}.${field}`, parseClusterPeer);
  return {
    place: `${direction}[${index}]${typeof name === 'string' && name !== '' ? ` (${name.slice(0, NAME_MAX)})` : ''}`,
    actions: known === undefined ? ACTIONS : [known],
    ports: parsePorts(fields[ports], `${path}.${ports}`, ports === 'ports' ? parseAdminPort : parseProtocol),
    peers,
    doubt: firstDoubt(doubt, peers === undefined ? `${path}.${field}, which is missing` : undefined),
  };
}
