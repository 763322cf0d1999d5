import { expect, it } from 'vitest';
import { connection, networkPolicy, pod } from '../../test/support/policies.ts';
import type { End } from './connection.ts';
import { decide } from './decide.ts';
import { PolicySet } from './policy_set.ts';

const web = pod('shop/web', { ports: [{ name: 'http', containerPort: 80 }] });
const cart = pod('shop/cart', { labels: { app: 'cart', tier: 'x' } });
const asked = connection({ from: cart, to: web });
const client = (less: Partial<End>) => ({ ...asked, source: { ...asked.source, ...less } });
const labels = { values: { app: 'cart' }, isComplete: false };
const some = client({ pod: asked.source.pod && { ...asked.source.pod, labels } });
const server = { ...asked.destination, pod: asked.destination.pod && { ...asked.destination.pod, ports: undefined } };

const from = (peer: string) => `{ingress: [{from: [${peer}]}]}`;

it.each([
  ['a label that is known', from('{podSelector: {matchLabels: {app: cart}}}'), some, 'allowed', []],
  ['another value of it', from('{podSelector: {matchLabels: {app: x}}}'), some, 'denied', []],
  ['a label', from('{podSelector: {matchLabels: {tier: x}}}'), some, 'unknown', ['label tier of shop/cart']],
  [
    'an address',
    from('{ipBlock: {cidr: 10.0.0.0/8}}'),
    client({ addresses: undefined }),
    'unknown',
    ['address of shop/cart'],
  ],
  ['an address that does not matter', from('{podSelector: {}}'), client({ addresses: undefined }), 'allowed', []],
  [
    'names of ports',
    '{ingress: [{ports: [{port: http}]}]}',
    { ...asked, destination: server },
    'unknown',
    ['names of the container ports of shop/web'],
  ],
  [
    'names of ports that do not matter',
    '{ingress: [{ports: [{port: 80}]}]}',
    { ...asked, destination: server },
    'allowed',
    [],
  ],
  [
    'the port',
    '{ingress: [{ports: [{port: 80}]}]}',
    { ...asked, port: undefined },
    'unknown',
    ['port of shop/web behind the address of a Service'],
  ],
  ['the port, if all are allowed', '{ingress: [{ports: [{}]}]}', { ...asked, port: undefined }, 'allowed', []],
])('not knowing %s', (_, spec, connected, verdict, unknown) => {
  const decision = decide(new PolicySet([networkPolicy(spec)]), connected, 'ingress');
  expect(decision).toMatchObject({ verdict, unknown });
});
