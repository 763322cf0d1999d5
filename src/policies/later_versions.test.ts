import { describe, expect, it } from 'vitest';
import { ask, clusterPolicy, connection, networkPolicy, pod } from '../../test/support/policies.ts';
import { decide } from './decide.ts';
import type { NetworkPolicy, Policy } from './model.ts';
import { parsePolicy } from './parse_policy.ts';
import { POLICIES_MAX, PolicySet } from './policy_set.ts';

/**
 * Tests of objects from later API versions and of malformed objects. The verdict must be unknown if their unknown parts
 * could change it.
 */

const web = pod('shop/web', { labels: { app: 'web' } });
const cart = pod('shop/cart', { labels: { app: 'cart' }, ips: ['10.0.0.3'] });

const ingress = (...policies: readonly Policy[]) => ask(policies, 'ingress', { from: cart, to: web });
const np = (spec: string) => networkPolicy(spec, 'p');
const anp = (spec: string) => clusterPolicy('AdminNetworkPolicy', `{priority: 1, subject: {namespaces: {}}, ${spec}}`);
const cnp = (spec: string) =>
  clusterPolicy('ClusterNetworkPolicy', `{tier: Admin, priority: 1, subject: {namespaces: {}}, ${spec}}`);

describe('of a NetworkPolicy', () => {
  it.each([
    ['in the spec', '{podSelector: {}, mode: audit}', 'spec.mode'],
    ['in a rule', '{podSelector: {}, ingress: [{schedule: night}]}', 'spec.ingress[0].schedule'],
    [
      'in a peer',
      '{podSelector: {}, ingress: [{from: [{serviceSelector: {}}]}]}',
      'spec.ingress[0].from[0].serviceSelector',
    ],
    [
      'beside a selector of a peer',
      '{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: x}}, nodes: {}}]}]}',
      'from[0].nodes',
    ],
    [
      'in a port',
      '{podSelector: {}, ingress: [{ports: [{port: 1, lastPort: 90}]}]}',
      'spec.ingress[0].ports[0].lastPort',
    ],
    [
      'in a block',
      '{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.9.0.0/16, include: [10.0.0.3/32]}}]}]}',
      'ipBlock.include',
    ],
    ['in a selector', '{podSelector: {matchPrefix: {app: w}}}', 'spec.podSelector.matchPrefix'],
    ['an operator', '{podSelector: {matchExpressions: [{key: app, operator: Like, values: [w]}]}}', 'operator of'],
    ['a protocol', '{podSelector: {}, ingress: [{ports: [{protocol: QUIC, port: 80}]}]}', 'ports[0].protocol'],
    ['a policy type', '{podSelector: {}, policyTypes: [Forward]}', 'spec.policyTypes'],
    ['a peer without any field', '{podSelector: {}, ingress: [{from: [{}]}]}', 'from[0]'],
    [
      'a block beside a selector',
      '{podSelector: {}, ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}',
      'from[0]',
    ],
    ['an invalid network', '{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/33}}]}]}', 'ipBlock.cidr'],
    [
      'an invalid exception',
      '{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [x]}}]}]}',
      'ipBlock.except',
    ],
    ['endPort of a named port', '{podSelector: {}, ingress: [{ports: [{port: http, endPort: 90}]}]}', 'ports[0]'],
    ['endPort without a port', '{podSelector: {}, ingress: [{ports: [{endPort: 90}]}]}', 'ports[0]'],
    ['endPort before the port', '{podSelector: {}, ingress: [{ports: [{port: 90, endPort: 80}]}]}', 'ports[0]'],
    ['a port beyond all ports', '{podSelector: {}, ingress: [{ports: [{port: 70000}]}]}', 'ports[0]'],
    ['a number as text', '{podSelector: {}, ingress: [{ports: [{port: "80"}]}]}', 'ports[0]'],
    ['no list of rules', '{podSelector: {}, ingress: {}}', 'spec.ingress'],
    ['no list of peers', '{podSelector: {}, ingress: [{from: {}}]}', 'spec.ingress[0].from'],
    ['no object as a rule', '{podSelector: {}, ingress: [allow]}', 'spec.ingress[0]'],
    ['no object as a selector', '{podSelector: [app]}', 'spec.podSelector'],
    ['In without values', '{podSelector: {matchExpressions: [{key: app, operator: In}]}}', 'matchExpressions[0]'],
    [
      'Exists with values',
      '{podSelector: {matchExpressions: [{key: app, operator: Exists, values: [a]}]}}',
      'matchExpressions[0]',
    ],
  ])('%s', (_, spec, reason) => {
    const decision = ingress(np(spec));
    expect(decision).toMatchObject({ verdict: 'unknown', cause: 'uncertain' });
    expect(decision.unknown.join()).toContain('NetworkPolicy/shop/p spec.');
    expect(decision.unknown.join()).toContain(reason);
  });

  it('matters only where it could change the verdict', () => {
    const unclear = np('{podSelector: {}, ingress: [{schedule: night}]}');
    const allowing = networkPolicy('{podSelector: {}, ingress: [{}]}', 'allow');
    expect(ingress(unclear, allowing)).toMatchObject({
      verdict: 'allowed',
      by: ['NetworkPolicy/shop/allow ingress[0]'],
    });
    expect(ingress(np('{podSelector: {matchLabels: {app: db}}, ingress: [{schedule: night}]}')).verdict).toBe(
      'allowed',
    );
    const egress = np('{podSelector: {}, ingress: [{}], egress: [{to: [{serviceSelector: {}}]}]}');
    expect(ingress(egress).verdict).toBe('allowed');
    expect(
      ingress(clusterPolicy('BaselineAdminNetworkPolicy', '{subject: {}, ingress: []}'), np('{podSelector: {}}'))
        .verdict,
    ).toBe('denied');
  });

  it('fields that are null are not set', () => {
    expect(
      ingress(np('{podSelector: {}, mode: null, ingress: [{from: null, ports: null, schedule: null}]}')).verdict,
    ).toBe('allowed');
  });

  it('other parts of the object do not matter', () => {
    const object = {
      metadata: { name: 'p', namespace: 'shop', labels: { a: 'b' }, brandNew: 1 },
      spec: {},
      status: { x: 1 },
      extra: 1,
    };
    expect(ingress(parsePolicy('NetworkPolicy', object)).verdict).toBe('denied');
  });
});

describe('of a policy for the cluster', () => {
  const rule = 'action: Deny, from: [{namespaces: {}}]';

  it.each([
    ['in the spec', anp('scope: half'), 'spec.scope'],
    ['in a rule', anp(`ingress: [{${rule}, schedule: night}]`), 'spec.ingress[0].schedule'],
    ['in a peer', cnp('ingress: [{action: Deny, from: [{services: {}}]}]'), 'from[0].services'],
    ['a peer without any field', cnp('ingress: [{action: Deny, from: [{}]}]'), 'from[0]'],
    ['no peer', cnp('ingress: [{action: Deny}]'), 'spec.ingress[0].from'],
    ['a protocol', cnp(`ingress: [{${rule}, protocols: [{quic: {}}]}]`), 'protocols[0].quic'],
    ['a protocol without any field', cnp(`ingress: [{${rule}, protocols: [{tcp: {}}]}]`), 'protocols[0].tcp'],
    [
      'a protocol with a field',
      cnp(`ingress: [{${rule}, protocols: [{tcp: {sourcePort: {number: 1}}}]}]`),
      'tcp.sourcePort',
    ],
    ['a port', anp(`ingress: [{${rule}, ports: [{portList: [80]}]}]`), 'ports[0].portList'],
    ['two kinds of ports', anp(`ingress: [{${rule}, ports: [{namedPort: a, portNumber: {port: 80}}]}]`), 'ports[0]'],
    [
      'sameLabels',
      anp('ingress: [{action: Deny, from: [{namespaces: {sameLabels: [tenant]}}]}]'),
      'namespaces.sameLabels',
    ],
    [
      'notSameLabels',
      anp('ingress: [{action: Deny, from: [{pods: {namespaces: {notSameLabels: [tenant]}, podSelector: {}}}]}]'),
      'namespaces.notSameLabels',
    ],
    [
      'its subject',
      clusterPolicy(
        'AdminNetworkPolicy',
        `{priority: 1, subject: {nodes: {matchLabels: {a: b}}, x: {}}, ingress: [{${rule}}]}`,
      ),
      'subject.x',
    ],
    [
      'its tier',
      clusterPolicy(
        'ClusterNetworkPolicy',
        `{tier: Middle, priority: 1, subject: {namespaces: {}}, ingress: [{${rule}}]}`,
      ),
      'spec.tier',
    ],
    [
      'its priority',
      clusterPolicy('AdminNetworkPolicy', `{priority: high, subject: {namespaces: {}}, ingress: [{${rule}}]}`),
      'spec.priority',
    ],
  ])('%s', (_, policy, reason) => {
    const decision = ingress(policy);
    expect(decision.verdict).toBe('unknown');
    expect(decision.unknown.join()).toContain(reason);
  });

  it('an action may be any, but does not matter if all actions give the same verdict', () => {
    const log = anp('ingress: [{action: Log, from: [{namespaces: {}}]}]');
    expect(ingress(log)).toMatchObject({ verdict: 'unknown', unknown: ['action of AdminNetworkPolicy/p ingress[0]'] });
    expect(ingress(anp(`ingress: [{${rule}}, {action: Log, from: [{namespaces: {}}]}]`)).verdict).toBe('denied');
  });

  it('a rule that may match before one with the same effect leaves no doubt', () => {
    expect(ingress(anp(`ingress: [{${rule}, schedule: night}, {${rule}}]`))).toMatchObject({
      verdict: 'denied',
      by: ['AdminNetworkPolicy/p ingress[1]'],
    });
  });
});

describe('a set of policies', () => {
  const asked = connection({ from: cart, to: web });

  it('without a part that could not be read is unknown where that part could decide', () => {
    const reason = 'the NetworkPolicies of shop, because the right to list networkpolicies is missing';
    const unread = [{ reason, part: { namespace: 'shop' } }];
    expect(decide(new PolicySet([], unread), asked, 'ingress')).toMatchObject({
      verdict: 'unknown',
      unknown: [reason],
    });
    const allow = networkPolicy('{podSelector: {}, ingress: [{}]}');
    expect(decide(new PolicySet([allow], unread), asked, 'ingress').verdict).toBe('allowed');
    expect(decide(new PolicySet([networkPolicy('{podSelector: {}}')], unread), asked, 'ingress').verdict).toBe(
      'unknown',
    );
    expect(decide(new PolicySet([], [{ reason, part: { namespace: 'data' } }]), asked, 'ingress').verdict).toBe(
      'allowed',
    );
    expect(decide(new PolicySet([allow], [{ reason, part: 'admin' }]), asked, 'ingress').verdict).toBe('unknown');
    expect(decide(new PolicySet([allow], [{ reason, part: 'baseline' }]), asked, 'ingress').verdict).toBe('allowed');
  });

  it('has at most ten thousand, and says how many are left out', () => {
    const policy = networkPolicy('{podSelector: {}}') as NetworkPolicy;
    const many = Array.from({ length: POLICIES_MAX + 2 }, (_, index) => ({ ...policy, namespace: `n${index}` }));
    const set = new PolicySet(many);
    expect(set.size).toBe(POLICIES_MAX);
    expect(decide(set, asked, 'ingress')).toMatchObject({
      verdict: 'unknown',
      unknown: ['2 policies beyond the first 10000'],
    });
    expect(decide(new PolicySet(many.slice(0, POLICIES_MAX)), asked, 'ingress').verdict).toBe('allowed');
  });

  it('names at most eight policies', () => {
    const many = Array.from({ length: 20 }, (_, index) => networkPolicy('{podSelector: {}}', `p${index}`));
    const { by } = decide(new PolicySet(many), asked, 'ingress');
    expect(by).toHaveLength(9);
    expect(by.at(-1)).toBe('+12');
  });
});

it('refuses an object without a name', () => {
  for (const object of [
    undefined,
    {},
    { metadata: {} },
    { metadata: { name: 1 } },
    { metadata: { name: 'x'.repeat(254) } },
  ]) {
    expect(() => parsePolicy('NetworkPolicy', object)).toThrow('a NetworkPolicy without a name');
  }
});
