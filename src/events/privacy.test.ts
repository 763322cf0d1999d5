import { expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import type { RequestRecord } from '#api/requests.ts';
import type { PrivacyRule } from '#core/privacy.ts';
import type { EventDescriptor } from '#probe/event.ts';
import { PROBES } from '#probes/index.ts';
import { makeFlows } from '../../test/support/flow_lines.ts';
import { Privacy } from './privacy.ts';

const SHOWN: PrivacyRule = { paths: true, names: true, peers: true, traces: true };
const NOTHING: PrivacyRule = { paths: false, names: false, peers: false, traces: false };

const DESCRIPTOR: EventDescriptor = {
  help: 'Something happened.',
  severity: 'warning',
  equalBy: [],
  fields: {
    path: { type: 'string', help: '', optional: true, private: 'paths' },
    name: { type: 'string', help: '', private: 'names' },
    names: { type: 'strings', help: '', private: 'names' },
    traceId: { type: 'string', help: '', optional: true, private: 'traces' },
    status: { type: 'string', help: '' },
  },
};
const EVENT: EventRecord = {
  time: '2026-01-01T00:00:00.000000000Z',
  probe: 'http',
  type: 'http_request_failed',
  severity: 'warning',
  node: 'n1',
  netns: '7',
  namespace: 'pay',
  pod: 'cart-0',
  src: 'secret-src:1',
  dst: 'secret-dst:2',
  peer: { kind: 'pod', namespace: 'shop', name: 'secret-pod', ip: 'secret-ip' },
  connectionId: 'secret-id',
  path: '/secret',
  name: 'secret.example',
  names: ['secret.example'],
  traceId: 'secret-trace',
  status: '500',
  message: 'GET /secret from secret-src',
};
const REQUEST: RequestRecord = {
  time: '2026-01-01T00:00:00.000000000Z',
  probe: 'http',
  node: 'n1',
  netns: '7',
  namespace: 'pay',
  pod: 'cart-0',
  srcPort: 1,
  dstPort: 2,
  src: '10.0.0.1',
  dst: '10.0.0.2',
  peer: { kind: 'pod', namespace: 'shop', name: 'secret-pod', ip: '10.0.0.2' },
  role: 'client',
  method: 'GET',
  path: '/secret',
  status: 500,
  grpcCode: null,
  cause: null,
  failed: true,
  seconds: 1,
  networkSeconds: null,
  traceId: 'secret-trace',
  message: 'The HTTP request GET /secret from 10.0.0.1:1 to 10.0.0.2:2 was answered.',
};

function privacyOf(rules: Privacy['rules']): Privacy {
  const privacy = new Privacy();
  privacy.rules = rules;
  return privacy;
}

it('shows everything of namespaces that have no rule', () => {
  const privacy = privacyOf({ bank: NOTHING });
  expect(privacy.event(EVENT, DESCRIPTOR)).toBe(EVENT);
  expect(privacy.request(REQUEST)).toBe(REQUEST);
});

it('leaves nothing in an event that the rule of its Pod hides', () => {
  const hidden = privacyOf({ pay: NOTHING }).event(EVENT, DESCRIPTOR);
  expect(JSON.stringify(hidden)).not.toContain('secret');
  expect(hidden).toMatchObject({
    pod: 'cart-0',
    status: '500',
    name: '*',
    names: ['*'],
    message: 'Something happened.',
  });
  expect('path' in hidden).toBe(false);
  const withPeer = privacyOf({ pay: { ...NOTHING, peers: true } }).event(EVENT, DESCRIPTOR);
  expect(withPeer).toMatchObject({ src: 'secret-src:1', peer: { name: 'secret-pod' } });
});

it('applies the rule of the peer as well, that of all others, and all rules to a Pod that is not known', () => {
  for (const rules of [{ shop: NOTHING }, { '*': NOTHING }, { '*': NOTHING, pay: SHOWN }]) {
    expect(JSON.stringify(privacyOf(rules).event(EVENT, DESCRIPTOR)), JSON.stringify(rules)).not.toContain('secret');
  }
  const unknown = { ...EVENT, namespace: null, pod: null };
  expect(JSON.stringify(privacyOf({ bank: NOTHING }).event(unknown, DESCRIPTOR))).not.toContain('secret');
});

it('leaves nothing in records that the rule hides', () => {
  const privacy = privacyOf({ '*': NOTHING });
  const request = privacy.request(REQUEST);
  expect(JSON.stringify(request)).not.toMatch(/secret|10\.0\.0\.2/);
  expect(request).toMatchObject({
    src: '10.0.0.1',
    dst: '*',
    path: null,
    message: 'The HTTP request GET from 10.0.0.1:1 to * was answered.',
  });
  const server = privacy.request({ ...REQUEST, role: 'server' });
  expect(JSON.stringify(server)).not.toMatch(/10\.0\.0\.1/);
  const [flow] = makeFlows(1);
  if (flow === undefined) throw new Error('there is no flow');
  const hidden = privacy.flow({
    ...flow,
    message: `A connection from ${flow.src}:${flow.srcPort} to ${flow.dst}:${flow.dstPort} failed.`,
  });
  expect(JSON.stringify(hidden)).not.toContain(flow.dst);
});

it('leaves no names by DNS in records if the rule hides names or peers', () => {
  const named = { ...REQUEST, dnsNames: ['secret.example'] };
  for (const rule of [
    { ...SHOWN, names: false },
    { ...SHOWN, peers: false },
  ]) {
    expect(JSON.stringify(privacyOf({ '*': rule }).request(named))).not.toContain('secret.example');
  }
  expect(privacyOf({ '*': { ...SHOWN, paths: false } }).request(named).dnsNames).toEqual(['secret.example']);
  const [flow] = makeFlows(1);
  if (flow === undefined) throw new Error('there is no flow');
  const hidden = privacyOf({ '*': { ...SHOWN, names: false } }).flow({ ...flow, dnsNames: ['secret.example'] });
  expect([hidden.dst, 'dnsNames' in hidden]).toEqual([flow.dst, false]);
});

it('knows each field with an address of a connection, or with a path or a name', () => {
  const fields = PROBES.flatMap(({ events }) =>
    Object.values(events as Readonly<Record<string, EventDescriptor>>).flatMap(({ fields: own }) =>
      Object.entries(own),
    ),
  );
  const shown = fields.filter(([, { private: kind }]) => kind === undefined).map(([name]) => name);
  expect(
    shown.filter((name) => /(Src|Dst|Client|Server|Service|Source)$|^(path|names?|traceId|server)$/.test(name)),
  ).toEqual([]);
});
