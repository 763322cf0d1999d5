import { describe, expect, it } from 'vitest';
import {
  type Asked,
  address,
  ask,
  clusterPolicy,
  connection,
  networkPolicy,
  pod,
} from '../../test/support/policies.ts';
import { explain } from './explain.ts';
import type { Direction, Policy } from './model.ts';

const labels = { app: 'web', a: '1', b: '2', c: '3', d: '4' };
const web = pod('shop/web', { labels });
const cart = pod('shop/cart', { labels: { app: 'cart' } });
const host = pod('shop/host', { hostNetwork: true });
const rule = (action: string) =>
  `{priority: 1, subject: {namespaces: {}}, ingress: [{name: r, action: ${action}, from: [{namespaces: {}}]}]}`;

describe('a decision in words', () => {
  it.each<[string, readonly Policy[], Partial<Asked>, string, Direction?]>([
    [
      'a rule',
      [networkPolicy('{ingress: [{}]}')],
      {},
      'NetworkPolicy/shop/p ingress[0] matches tcp/80 from shop/cart (app=cart)',
    ],
    [
      'isolation',
      [networkPolicy('{}')],
      { port: 81, protocol: 'UDP' },
      'NetworkPolicy/shop/p selects the Pod, and no rule allows udp/81 from shop/cart (app=cart)',
    ],
    [
      'two policies',
      [networkPolicy('{}'), networkPolicy('{}', 'q')],
      {},
      'NetworkPolicy/shop/p and NetworkPolicy/shop/q select the Pod, and no rule allows tcp/80 from shop/cart (app=cart)',
    ],
    [
      'many labels',
      [networkPolicy('{policyTypes: [Egress]}')],
      { from: cart, to: web },
      'NetworkPolicy/shop/p selects the Pod, and no rule allows tcp/80 to shop/web (app=web, a=1, b=2, c=3, and 1 more labels)',
      'egress',
    ],
    [
      'a rule with a name',
      [clusterPolicy('AdminNetworkPolicy', rule('Deny'))],
      {},
      'AdminNetworkPolicy/p ingress[0] (r) matches tcp/80 from shop/cart (app=cart)',
    ],
    [
      'passed',
      [clusterPolicy('AdminNetworkPolicy', rule('Pass'))],
      {},
      'AdminNetworkPolicy/p ingress[0] (r) passes it on, and no other policy decides',
    ],
    ['nothing', [], {}, 'no policy decides about tcp/80 from shop/cart (app=cart)'],
    [
      'unknown',
      [networkPolicy('{ingress: [{x: 1}]}')],
      {},
      'it depends on facts that are missing: field NetworkPolicy/shop/p spec.ingress[0].x. NetworkPolicy/shop/p ingress[0] may decide',
    ],
    ['itself', [networkPolicy('{}')], { from: web }, 'policies do not apply to connections of a Pod with itself'],
    [
      'own node',
      [networkPolicy('{}')],
      { from: address('192.168.255.1') },
      'policies do not apply to connections from the node of shop/web',
    ],
    [
      'host network',
      [networkPolicy('{}')],
      { to: host },
      'shop/host uses the network of its node, to which policies do not apply',
    ],
    [
      'no Pod',
      [networkPolicy('{}')],
      { to: address('192.0.2.1') },
      '192.0.2.1 is not a Pod, so policies do not apply to it',
    ],
  ])('%s', (_, policies, asked, text, direction = 'ingress') => {
    const whole = { from: cart, to: web, ...asked };
    expect(explain(ask(policies, direction, whole), connection(whole))).toBe(text);
  });
});
