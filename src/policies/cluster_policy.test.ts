import { describe, expect, it } from 'vitest';
import { type Asked, address, ask, clusterPolicy, networkPolicy, pod } from '../../test/support/policies.ts';
import type { Direction, Policy } from './model.ts';

/**
 * The expected results follow the comments in network-policy-api: apis/v1alpha1 (Admin…), v1alpha2 and v1beta1
 * (Cluster…).
 */

const web = pod('shop/web', {
  labels: { app: 'web' },
  namespaceLabels: { tenant: 'a' },
  ips: ['10.0.0.2'],
  ports: [
    { name: 'http', containerPort: 8080 },
    { name: 'dns', containerPort: 53, protocol: 'UDP' },
  ],
});
const cart = pod('shop/cart', { labels: { app: 'cart' }, namespaceLabels: { tenant: 'a' }, ips: ['10.0.0.3'] });
const db = pod('data/db', { labels: { app: 'db' }, namespaceLabels: { tenant: 'b' }, ips: ['10.0.1.4'] });

const ALL = 'subject: {namespaces: {}}';
const FROM_ALL = 'from: [{namespaces: {}}]';

const anp = (priority: number, rules: string, name = `anp${priority}`) =>
  clusterPolicy('AdminNetworkPolicy', `{priority: ${priority}, ${ALL}, ingress: [${rules}]}`, name);
const cnp = (tier: string, priority: number, rules: string, name = `cnp${priority}`) =>
  clusterPolicy('ClusterNetworkPolicy', `{tier: ${tier}, priority: ${priority}, ${ALL}, ingress: [${rules}]}`, name);
const banp = (rules: string) => clusterPolicy('BaselineAdminNetworkPolicy', `{${ALL}, ingress: [${rules}]}`, 'default');
const act = (action: string, more = '') => `{action: ${action}, ${FROM_ALL}${more}}`;

function verdict(policies: readonly Policy[], asked: Partial<Asked> = {}, direction: Direction = 'ingress'): string {
  return ask(policies, direction, { from: cart, to: web, ...asked }).verdict;
}

const DENY_ALL = networkPolicy('{podSelector: {}}', 'deny-all');
const ALLOW_ALL = networkPolicy('{podSelector: {}, ingress: [{}]}', 'allow-all');

describe('the order of the tiers', () => {
  it.each([
    ['Deny of the admin tier comes before a NetworkPolicy', [anp(1, act('Deny')), ALLOW_ALL], 'denied'],
    ['Allow of the admin tier comes before a NetworkPolicy', [anp(1, act('Allow')), DENY_ALL], 'allowed'],
    ['Accept of the admin tier comes before a NetworkPolicy', [cnp('Admin', 1, act('Accept')), DENY_ALL], 'allowed'],
    ['Pass leaves it to a NetworkPolicy that denies', [anp(1, act('Pass')), DENY_ALL], 'denied'],
    ['Pass leaves it to a NetworkPolicy that allows', [anp(1, act('Pass')), ALLOW_ALL], 'allowed'],
    ['Pass without a NetworkPolicy leaves it to the baseline', [anp(1, act('Pass')), banp(act('Deny'))], 'denied'],
    ['Pass skips further rules of its tier', [anp(1, act('Pass')), anp(2, act('Deny'))], 'allowed'],
    ['Pass skips further rules of its policy', [cnp('Admin', 1, `${act('Pass')}, ${act('Deny')}`)], 'allowed'],
    ['Pass is not Allow', [cnp('Admin', 1, act('Pass')), cnp('Baseline', 1, act('Deny'))], 'denied'],
    [
      'Pass of the baseline leaves it to the default',
      [cnp('Baseline', 1, act('Pass')), cnp('Baseline', 2, act('Deny'))],
      'allowed',
    ],
    ['a NetworkPolicy that allows comes before the baseline', [ALLOW_ALL, banp(act('Deny'))], 'allowed'],
    ['a NetworkPolicy that isolates comes before the baseline', [DENY_ALL, banp(act('Allow'))], 'denied'],
    ['the baseline decides about Pods that no NetworkPolicy selects', [banp(act('Deny'))], 'denied'],
    ['the baseline by a ClusterNetworkPolicy', [cnp('Baseline', 1, act('Deny'))], 'denied'],
    ['without any decision, it is allowed', [anp(1, act('Pass')), banp(act('Allow'))], 'allowed'],
  ])('%s', (_, policies, expected) => expect(verdict(policies)).toBe(expected));

  it('names what passed it on', () => {
    expect(ask([anp(1, act('Pass'))], 'ingress', { from: cart, to: web })).toMatchObject({
      cause: 'unselected',
      by: ['AdminNetworkPolicy/anp1 ingress[0]'],
    });
  });
});

describe('priorities and rules', () => {
  it('a lower priority value comes first, whatever the order of the list', () => {
    const policies = [anp(20, act('Deny')), anp(10, act('Allow'))];
    expect(verdict(policies)).toBe('allowed');
    expect(verdict(policies.toReversed())).toBe('allowed');
    expect(verdict([anp(5, act('Deny')), ...policies])).toBe('denied');
    expect(verdict([anp(9, act('Deny')), anp(10, act('Allow'))])).toBe('denied');
    expect(verdict([cnp('Admin', 1000, act('Deny')), cnp('Admin', 0, act('Accept'))])).toBe('allowed');
  });

  it('the first rule of a policy that matches decides, and is named', () => {
    const rules = `{name: other, action: Deny, from: [{namespaces: {matchLabels: {tenant: b}}}]}, ${act('Allow')}, ${act('Deny')}`;
    expect(ask([anp(1, rules)], 'ingress', { from: cart, to: web })).toMatchObject({
      verdict: 'allowed',
      by: ['AdminNetworkPolicy/anp1 ingress[1]'],
    });
    expect(ask([anp(1, rules)], 'ingress', { from: db, to: web })).toMatchObject({
      verdict: 'denied',
      cause: 'rule',
      by: ['AdminNetworkPolicy/anp1 ingress[0] (other)'],
    });
  });

  it('with equal priorities that disagree, the API defines no order', () => {
    const decision = ask([anp(1, act('Deny'), 'a'), anp(1, act('Allow'), 'b')], 'ingress', { from: cart, to: web });
    expect(decision.verdict).toBe('unknown');
    expect(decision.unknown.join()).toContain('AdminNetworkPolicy/a ingress[0], AdminNetworkPolicy/b ingress[0]');
    expect(verdict([anp(1, act('Deny'), 'a'), anp(1, act('Deny'), 'b')])).toBe('denied');
    expect(verdict([anp(1, act('Deny'), 'a'), anp(1, act('Pass'), 'b'), DENY_ALL])).toBe('denied');
    const elsewhere = '{action: Deny, from: [{namespaces: {matchLabels: {tenant: b}}}]}';
    expect(verdict([anp(1, elsewhere, 'a'), anp(1, act('Allow'), 'b')])).toBe('allowed');
  });

  it('nor does it define one between kinds', () => {
    expect(verdict([anp(1, act('Deny')), cnp('Admin', 2, act('Accept'))])).toBe('unknown');
    expect(verdict([anp(1, act('Deny')), cnp('Admin', 2, act('Deny'))])).toBe('denied');
    expect(verdict([banp(act('Deny')), cnp('Baseline', 2, act('Accept'))])).toBe('unknown');
  });
});

describe('subject and peers', () => {
  const subject = (text: string) =>
    clusterPolicy('AdminNetworkPolicy', `{priority: 1, subject: ${text}, ingress: [${act('Deny')}]}`);
  const peers = (text: string) =>
    clusterPolicy('AdminNetworkPolicy', `{priority: 1, ${ALL}, ingress: [{action: Deny, from: [${text}]}]}`);

  it.each([
    ['namespaces', subject('{namespaces: {matchLabels: {tenant: a}}}'), 'denied'],
    ['other namespaces', subject('{namespaces: {matchLabels: {tenant: b}}}'), 'allowed'],
    ['Pods', subject('{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}}'), 'denied'],
    ['other Pods', subject('{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: x}}}}'), 'allowed'],
    [
      'Pods of other namespaces',
      subject('{pods: {namespaceSelector: {matchLabels: {tenant: b}}, podSelector: {}}}'),
      'allowed',
    ],
    ['peers: namespaces', peers('{namespaces: {matchLabels: {tenant: a}}}'), 'denied'],
    ['peers: other namespaces', peers('{namespaces: {matchLabels: {tenant: b}}}'), 'allowed'],
    ['peers: Pods', peers('{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: cart}}}}'), 'denied'],
    ['peers: other Pods', peers('{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: x}}}}'), 'allowed'],
    ['peers: one of two', peers('{namespaces: {matchLabels: {tenant: b}}}, {namespaces: {}}'), 'denied'],
    ['namespaces as in v0.1.1', peers('{namespaces: {namespaceSelector: {matchLabels: {tenant: a}}}}'), 'denied'],
    [
      'Pods as in v0.1.1',
      peers('{pods: {namespaces: {namespaceSelector: {}}, podSelector: {matchLabels: {app: x}}}}'),
      'allowed',
    ],
  ])('%s', (_, policy, expected) => expect(verdict([policy])).toBe(expected));

  it('no selector selects a Pod in the network of its node', () => {
    const host = pod('shop/host', { labels: { app: 'web' }, hostNetwork: true, ips: ['192.168.0.9'], node: 'b' });
    expect(verdict([anp(1, act('Deny'))], { from: host })).toBe('allowed');
    expect(verdict([anp(1, act('Deny'))], { to: host })).toBe('allowed');
  });

  const egress = (to: string) =>
    clusterPolicy('ClusterNetworkPolicy', `{tier: Admin, priority: 1, ${ALL}, egress: [{action: Deny, to: [${to}]}]}`);

  it.each([
    ['networks', '{networks: [192.0.2.0/24]}', address('192.0.2.1'), 'denied'],
    ['other networks', '{networks: [192.0.2.0/24]}', address('198.51.100.1'), 'allowed'],
    ['networks have Pods, too', '{networks: [10.0.1.0/24]}', db, 'denied'],
    ['one of several networks', '{networks: [192.0.2.0/24, "2001:db8::/32"]}', address('2001:db8::1'), 'denied'],
    ['nodes', '{nodes: {matchLabels: {zone: x}}}', address('192.168.0.1', { zone: 'x' }), 'denied'],
    ['other nodes', '{nodes: {matchLabels: {zone: x}}}', address('192.168.0.1', { zone: 'y' }), 'allowed'],
    ['a Pod is no node', '{nodes: {}}', db, 'allowed'],
    ['an address that may be a node', '{nodes: {}}', address('192.168.0.1'), 'unknown'],
    ['names, which only the plugin can look up', '{domainNames: ["*.example.com"]}', address('192.0.2.1'), 'unknown'],
  ])('of egress: %s', (_, peer, to, expected) =>
    expect(verdict([egress(peer)], { from: web, to }, 'egress')).toBe(expected),
  );
});

describe('ports', () => {
  const admin = (ports: string) => anp(1, act('Deny', `, ports: [${ports}]`));
  const cluster = (protocols: string) => cnp('Admin', 1, act('Deny', `, protocols: [${protocols}]`));

  it.each([
    ['a port', admin('{portNumber: {protocol: TCP, port: 80}}'), 'TCP', 80, 'denied'],
    ['another port', admin('{portNumber: {protocol: TCP, port: 80}}'), 'TCP', 81, 'allowed'],
    ['another protocol', admin('{portNumber: {protocol: TCP, port: 80}}'), 'UDP', 80, 'allowed'],
    ['protocol left out: TCP', admin('{portNumber: {port: 80}}'), 'TCP', 80, 'denied'],
    ['protocol left out: not UDP', admin('{portNumber: {port: 80}}'), 'UDP', 80, 'allowed'],
    ['end of a range', admin('{portRange: {protocol: SCTP, start: 80, end: 90}}'), 'SCTP', 90, 'denied'],
    ['after a range', admin('{portRange: {protocol: SCTP, start: 80, end: 90}}'), 'SCTP', 91, 'allowed'],
    ['before a range', admin('{portRange: {start: 80, end: 90}}'), 'TCP', 79, 'allowed'],
    ['range without protocol: TCP', admin('{portRange: {start: 80, end: 90}}'), 'UDP', 85, 'allowed'],
    ['a named port', admin('{namedPort: http}'), 'TCP', 8080, 'denied'],
    ['a named port with another number', admin('{namedPort: http}'), 'TCP', 80, 'allowed'],
    ['a named port has the protocol of the container', admin('{namedPort: dns}'), 'UDP', 53, 'denied'],
    ['a named port of another protocol', admin('{namedPort: dns}'), 'TCP', 53, 'allowed'],
    ['an empty list: all', anp(1, act('Deny', ', ports: []')), 'SCTP', 1, 'denied'],
    ['tcp', cluster('{tcp: {destinationPort: {number: 80}}}'), 'TCP', 80, 'denied'],
    ['tcp is not udp', cluster('{tcp: {destinationPort: {number: 80}}}'), 'UDP', 80, 'allowed'],
    ['udp', cluster('{udp: {destinationPort: {number: 53}}}'), 'UDP', 53, 'denied'],
    ['udp is not tcp', cluster('{udp: {destinationPort: {number: 53}}}'), 'TCP', 53, 'allowed'],
    ['sctp', cluster('{sctp: {destinationPort: {number: 80}}}'), 'SCTP', 80, 'denied'],
    ['sctp is not udp', cluster('{sctp: {destinationPort: {number: 80}}}'), 'UDP', 80, 'allowed'],
    ['another number of udp', cluster('{udp: {destinationPort: {number: 53}}}'), 'UDP', 54, 'allowed'],
    [
      'one of two protocols',
      cluster('{tcp: {destinationPort: {number: 53}}}, {udp: {destinationPort: {number: 53}}}'),
      'UDP',
      53,
      'denied',
    ],
    ['start of a range', cluster('{sctp: {destinationPort: {range: {start: 80, end: 90}}}}'), 'SCTP', 80, 'denied'],
    ['end of a range of udp', cluster('{udp: {destinationPort: {range: {start: 80, end: 90}}}}'), 'UDP', 90, 'denied'],
    ['after a range of udp', cluster('{udp: {destinationPort: {range: {start: 80, end: 90}}}}'), 'UDP', 91, 'allowed'],
    ['a named destination port', cluster('{destinationNamedPort: dns}'), 'UDP', 53, 'denied'],
    ['a named destination port of another protocol', cluster('{destinationNamedPort: dns}'), 'TCP', 53, 'allowed'],
  ] as const)('%s', (_, policy, protocol, port, expected) => {
    expect(verdict([policy], { protocol, port })).toBe(expected);
  });
});
