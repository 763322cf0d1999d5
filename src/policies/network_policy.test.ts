import { describe, expect, it } from 'vitest';
import { type Asked, address, ask, askBoth, networkPolicy, pod } from '../../test/support/policies.ts';
import type { Direction } from './model.ts';

/**
 * The expected results follow the comments in kubernetes/api, networking/v1/types.go, and in apimachinery's selectors.
 */

const web = pod('shop/web', { labels: { app: 'web' }, ips: ['10.0.0.2'] });
const cart = pod('shop/cart', { labels: { app: 'cart', tier: '' }, ips: ['10.0.0.3'] });
const other = pod('data/db', { labels: { app: 'db' }, namespaceLabels: { team: 'data' }, ips: ['10.0.1.4'] });

function verdict(spec: string, asked: Partial<Asked> = {}, direction: Direction = 'ingress'): string {
  return ask([networkPolicy(spec)], direction, { from: cart, to: web, ...asked }).verdict;
}

/** Returns the spec of a policy that selects `web` and has this single ingress rule. */
const allow = (rule: string) => `{podSelector: {matchLabels: {app: web}}, ingress: [${rule}]}`;
const from = (peer: string) => allow(`{from: [${peer}]}`);

describe('isolation', () => {
  it('without a policy that selects the Pod, everything is allowed', () => {
    expect(ask([], 'ingress', { from: cart, to: web })).toMatchObject({ verdict: 'allowed', cause: 'unselected' });
    expect(verdict('{podSelector: {matchLabels: {app: db}}}')).toBe('allowed');
    expect(ask([networkPolicy('{podSelector: {}}', 'p', 'data')], 'ingress', { from: cart, to: web }).verdict).toBe(
      'allowed',
    );
  });

  it('an empty or missing podSelector selects all Pods of the namespace', () => {
    for (const spec of ['{podSelector: {}}', '{}']) {
      const decision = ask([networkPolicy(spec)], 'ingress', { from: cart, to: web });
      expect(decision).toMatchObject({ verdict: 'denied', cause: 'isolated', by: ['NetworkPolicy/shop/p'] });
    }
  });

  it('rules of all policies that select the Pod add up, and the one that allows is named', () => {
    const policies = [
      networkPolicy('{podSelector: {}}', 'deny'),
      networkPolicy(allow('{ports: [{port: 443}]}, {ports: [{port: 80}]}'), 'web'),
    ];
    expect(ask(policies, 'ingress', { from: cart, to: web })).toMatchObject({
      verdict: 'allowed',
      cause: 'rule',
      by: ['NetworkPolicy/shop/web ingress[1]'],
    });
    expect(ask(policies, 'ingress', { from: cart, to: web, port: 81 })).toMatchObject({
      verdict: 'denied',
      by: ['NetworkPolicy/shop/deny', 'NetworkPolicy/shop/web'],
    });
  });

  it('a connection needs both directions', () => {
    const policies = [networkPolicy('{podSelector: {matchLabels: {app: cart}}, policyTypes: [Egress]}')];
    const decisions = askBoth(policies, { from: cart, to: web });
    expect([decisions.verdict, decisions.egress.verdict, decisions.ingress.verdict]).toEqual([
      'denied',
      'denied',
      'allowed',
    ]);
    expect(askBoth(policies, { from: web, to: cart }).verdict).toBe('allowed');
  });
});

describe('policyTypes', () => {
  const both = (spec: string) => [verdict(spec), verdict(spec, { from: web, to: cart }, 'egress')];

  it.each([
    ['left out: Ingress', '{podSelector: {}}', ['denied', 'allowed']],
    ['left out with egress rules: both', '{podSelector: {}, egress: [{ports: [{port: 1}]}]}', ['denied', 'denied']],
    ['left out with no egress rule in the list: Ingress', '{podSelector: {}, egress: []}', ['denied', 'allowed']],
    ['an empty list: as left out', '{podSelector: {}, policyTypes: []}', ['denied', 'allowed']],
    ['Egress only', '{podSelector: {}, policyTypes: [Egress]}', ['allowed', 'denied']],
    [
      'Egress only, with ingress rules',
      '{podSelector: {}, policyTypes: [Egress], ingress: [{}]}',
      ['allowed', 'denied'],
    ],
    [
      'Ingress only, with egress rules',
      '{podSelector: {}, policyTypes: [Ingress], egress: [{ports: [{port: 1}]}]}',
      ['denied', 'allowed'],
    ],
    ['both', '{podSelector: {}, policyTypes: [Ingress, Egress]}', ['denied', 'denied']],
  ])('%s', (_, spec, expected) => expect(both(spec)).toEqual(expected));
});

describe('ports', () => {
  it.each([
    ['none: all ports', '{}', 'TCP', 80, 'allowed'],
    ['an empty list: all ports', '{ports: []}', 'SCTP', 80, 'allowed'],
    ['a port', '{ports: [{port: 80}]}', 'TCP', 80, 'allowed'],
    ['another port', '{ports: [{port: 80}]}', 'TCP', 81, 'denied'],
    ['one of several', '{ports: [{port: 80}, {port: 81}]}', 'TCP', 81, 'allowed'],
    ['protocol left out: TCP', '{ports: [{port: 80}]}', 'UDP', 80, 'denied'],
    ['protocol and port left out: all of TCP', '{ports: [{}]}', 'TCP', 65_535, 'allowed'],
    ['protocol and port left out: not UDP', '{ports: [{}]}', 'UDP', 80, 'denied'],
    ['protocol UDP', '{ports: [{protocol: UDP, port: 53}]}', 'UDP', 53, 'allowed'],
    ['protocol UDP is not TCP', '{ports: [{protocol: UDP, port: 53}]}', 'TCP', 53, 'denied'],
    ['protocol SCTP', '{ports: [{protocol: SCTP, port: 80}]}', 'SCTP', 80, 'allowed'],
    ['protocol SCTP is not TCP', '{ports: [{protocol: SCTP, port: 80}]}', 'TCP', 80, 'denied'],
    ['only a protocol', '{ports: [{protocol: SCTP}]}', 'SCTP', 9_999, 'allowed'],
    ['start of a range', '{ports: [{port: 80, endPort: 90}]}', 'TCP', 80, 'allowed'],
    ['end of a range', '{ports: [{port: 80, endPort: 90}]}', 'TCP', 90, 'allowed'],
    ['before a range', '{ports: [{port: 80, endPort: 90}]}', 'TCP', 79, 'denied'],
    ['after a range', '{ports: [{port: 80, endPort: 90}]}', 'TCP', 91, 'denied'],
  ] as const)('%s', (_, rule, protocol, port, expected) => {
    expect(verdict(allow(rule), { protocol, port })).toBe(expected);
  });
});

describe('named ports', () => {
  const ports = [
    { name: 'http', containerPort: 8080 },
    { name: 'dns', containerPort: 53, protocol: 'UDP' },
    { name: 'dns', containerPort: 5353, protocol: 'TCP' },
  ];
  const server = pod('shop/web', { labels: { app: 'web' }, ports });
  const named = (port: string, protocol = 'TCP') => allow(`{ports: [{port: ${port}, protocol: ${protocol}}]}`);

  it.each([
    ['the number behind the name', named('http'), 'TCP', 8080, 'allowed'],
    ['another number', named('http'), 'TCP', 80, 'denied'],
    ['a name that the Pod does not have', named('https'), 'TCP', 8080, 'denied'],
    ['the protocol of the container port', named('dns', 'UDP'), 'UDP', 53, 'allowed'],
    ['the other protocol has another number', named('dns'), 'TCP', 5353, 'allowed'],
    ['the number of the other protocol', named('dns'), 'TCP', 53, 'denied'],
    ['the policy asks for another protocol', named('http', 'UDP'), 'UDP', 8080, 'denied'],
    ['the policy asks for a protocol that the connection does not have', named('http', 'UDP'), 'TCP', 8080, 'denied'],
  ] as const)('%s', (_, spec, protocol, port, expected) => {
    expect(verdict(spec, { to: server, protocol, port })).toBe(expected);
  });

  it('the name is that of the destination, also for egress', () => {
    const spec = '{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}';
    expect(verdict(spec, { from: cart, to: server, port: 8080 }, 'egress')).toBe('allowed');
    expect(verdict(spec, { from: server, to: cart, port: 8080 }, 'egress')).toBe('denied');
    expect(verdict(spec, { from: cart, to: address('192.0.2.1'), port: 8080 }, 'egress')).toBe('denied');
  });
});

describe('peers', () => {
  it.each([
    ['an empty list: everyone', allow('{from: []}'), other, 'allowed'],
    ['a podSelector means the namespace of the policy', from('{podSelector: {}}'), cart, 'allowed'],
    ['a podSelector does not mean other namespaces', from('{podSelector: {}}'), other, 'denied'],
    ['an empty namespaceSelector: all Pods of all namespaces', from('{namespaceSelector: {}}'), other, 'allowed'],
    ['an empty namespaceSelector: only Pods', from('{namespaceSelector: {}}'), address('192.0.2.1'), 'denied'],
    ['a namespaceSelector', from('{namespaceSelector: {matchLabels: {team: data}}}'), other, 'allowed'],
    ['a namespaceSelector that does not match', from('{namespaceSelector: {matchLabels: {team: x}}}'), other, 'denied'],
    ['both selectors match', from('{namespaceSelector: {}, podSelector: {matchLabels: {app: db}}}'), other, 'allowed'],
    [
      'one of both selectors matches',
      from('{namespaceSelector: {}, podSelector: {matchLabels: {app: x}}}'),
      other,
      'denied',
    ],
    [
      'two peers: either matches',
      from('{namespaceSelector: {matchLabels: {team: x}}}, {podSelector: {}}'),
      cart,
      'allowed',
    ],
  ])('%s', (_, spec, source, expected) => expect(verdict(spec, { from: source })).toBe(expected));

  it('a rule needs a port and a peer', () => {
    const spec = allow('{from: [{podSelector: {}}], ports: [{port: 80}]}');
    expect(verdict(spec)).toBe('allowed');
    expect(verdict(spec, { port: 81 })).toBe('denied');
    expect(verdict(spec, { from: other })).toBe('denied');
  });

  it.each([
    ['In', '{key: app, operator: In, values: [cart, x]}', 'allowed'],
    ['In without the value', '{key: app, operator: In, values: [x]}', 'denied'],
    ['In without the key', '{key: none, operator: In, values: [x]}', 'denied'],
    ['NotIn', '{key: app, operator: NotIn, values: [x]}', 'allowed'],
    ['NotIn with the value', '{key: app, operator: NotIn, values: [cart]}', 'denied'],
    ['NotIn without the key', '{key: none, operator: NotIn, values: [x]}', 'allowed'],
    ['Exists', '{key: app, operator: Exists}', 'allowed'],
    ['Exists without the key', '{key: none, operator: Exists}', 'denied'],
    ['Exists with an empty value', '{key: tier, operator: Exists}', 'allowed'],
    ['DoesNotExist', '{key: none, operator: DoesNotExist}', 'allowed'],
    ['DoesNotExist with the key', '{key: app, operator: DoesNotExist}', 'denied'],
    ['a key that every JavaScript object has', '{key: constructor, operator: Exists}', 'denied'],
  ])('%s', (_, expression, expected) => {
    expect(verdict(from(`{podSelector: {matchExpressions: [${expression}]}}`))).toBe(expected);
  });

  it('an empty value in matchLabels needs the key', () => {
    expect(verdict(from('{podSelector: {matchLabels: {tier: ""}}}'))).toBe('allowed');
    expect(verdict(from('{podSelector: {matchLabels: {none: ""}}}'))).toBe('denied');
  });

  it('all requirements must be met', () => {
    const both = (value: string) =>
      from(
        `{podSelector: {matchLabels: {app: cart}, matchExpressions: [{key: tier, operator: In, values: [${value}]}]}}`,
      );
    expect(verdict(both('""'))).toBe('allowed');
    expect(verdict(both('x'))).toBe('denied');
  });
});

describe('ipBlock', () => {
  const block = from('{ipBlock: {cidr: 10.0.0.0/16, except: [10.0.1.0/24, 10.0.2.0/24]}}');

  it.each([
    ['10.0.0.9', 'allowed'],
    ['10.0.255.255', 'allowed'],
    ['10.1.0.0', 'denied'],
    ['10.0.1.0', 'denied'],
    ['10.0.2.255', 'denied'],
    ['10.0.3.0', 'allowed'],
    ['fd00::1', 'denied'],
  ])('%s: %s', (ip, expected) => expect(verdict(block, { from: address(ip) })).toBe(expected));

  it('a block of one family has no address of the other', () => {
    expect(verdict(from('{ipBlock: {cidr: "::/0"}}'), { from: address('10.0.0.1') })).toBe('denied');
    expect(verdict(from('{ipBlock: {cidr: 0.0.0.0/0}}'), { from: address('fd00::1') })).toBe('denied');
    expect(verdict(from('{ipBlock: {cidr: fd00::/8, except: ["fd00:1::/32"]}}'), { from: address('fd00::1') })).toBe(
      'allowed',
    );
    expect(verdict(from('{ipBlock: {cidr: fd00::/8, except: ["fd00:1::/32"]}}'), { from: address('fd00:1::1') })).toBe(
      'denied',
    );
  });

  it('an address of a Pod counts, and the decision says that this differs between implementations', () => {
    const decision = ask([networkPolicy(from('{ipBlock: {cidr: 10.0.1.0/24}}'))], 'ingress', { from: other, to: web });
    expect(decision).toMatchObject({ verdict: 'allowed', isByPodAddress: true });
    const named = ask([networkPolicy(from('{ipBlock: {cidr: 10.0.1.0/24}}, {namespaceSelector: {}}'))], 'ingress', {
      from: other,
      to: web,
    });
    expect(named).toMatchObject({ verdict: 'allowed', isByPodAddress: false });
  });

  it('of a Pod with addresses of two families, the one counts that the other end can reach', () => {
    const dual = pod('shop/dual', { ips: ['10.0.0.7', 'fd00::7'] });
    const spec = from('{ipBlock: {cidr: 10.0.0.0/8}}');
    expect(verdict(spec, { from: dual, to: web })).toBe('allowed');
    const v6 = pod('shop/web', { labels: { app: 'web' }, ips: ['fd00::2'] });
    expect(verdict(spec, { from: dual, to: v6 })).toBe('denied');
    const both = pod('shop/web', { labels: { app: 'web' }, ips: ['10.0.0.2', 'fd00::2'] });
    expect(ask([networkPolicy(spec)], 'ingress', { from: dual, to: both })).toMatchObject({
      verdict: 'unknown',
      unknown: ['which of its addresses shop/dual uses'],
    });
  });
});

describe('connections that no policy denies', () => {
  const deny = [networkPolicy('{podSelector: {}, policyTypes: [Ingress, Egress]}')];
  const host = (node: string) => pod('kube-system/agent', { hostNetwork: true, node, ips: ['192.168.0.1'] });
  const here = pod('shop/web', { labels: { app: 'web' }, node: 'node-a', hostIP: '192.168.0.1' });

  it('of a Pod with itself', () => {
    const { verdict: both, egress, ingress } = askBoth(deny, { from: web, to: web });
    expect([both, egress.cause, ingress.cause]).toEqual(['allowed', 'itself', 'itself']);
    expect(askBoth(deny, { from: cart, to: web }).verdict).toBe('denied');
  });

  it('from the node of the Pod, but not to it', () => {
    expect(askBoth(deny, { from: address('192.168.0.1'), to: here }).ingress).toMatchObject({
      verdict: 'allowed',
      cause: 'own node',
    });
    expect(askBoth(deny, { from: host('node-a'), to: here }).verdict).toBe('allowed');
    expect(askBoth(deny, { from: address('192.168.0.2'), to: here }).verdict).toBe('denied');
    expect(askBoth(deny, { from: host('node-b'), to: here }).verdict).toBe('denied');
    expect(askBoth(deny, { from: here, to: address('192.168.0.1') }).verdict).toBe('denied');
    const somewhere = pod('shop/web', { hostIP: null });
    expect(askBoth(deny, { from: address('192.168.0.1'), to: somewhere }).ingress.verdict).toBe('unknown');
  });

  it('of a Pod in the network of its node, which selectors do not select either', () => {
    const agent = pod('shop/agent', {
      labels: { app: 'web' },
      hostNetwork: true,
      node: 'node-b',
      ips: ['192.168.0.2'],
    });
    expect(askBoth(deny, { from: agent, to: address('192.0.2.1') })).toMatchObject({
      verdict: 'allowed',
      egress: { cause: 'host network' },
    });
    expect(verdict(from('{podSelector: {}}'), { from: agent, to: here })).toBe('denied');
    expect(verdict(from('{namespaceSelector: {}}'), { from: agent, to: here })).toBe('denied');
    expect(verdict(from('{ipBlock: {cidr: 192.168.0.2/32}}'), { from: agent, to: here })).toBe('allowed');
  });

  it('of an address that is no Pod', () => {
    expect(askBoth(deny, { from: web, to: address('192.0.2.1') }).ingress).toMatchObject({
      verdict: 'allowed',
      cause: 'no pod',
    });
  });
});
