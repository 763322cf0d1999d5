import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Unknown } from './answer.ts';
import { addressEnd, connectionOf, podEnd } from './ends.ts';
import { parseAddress } from './network.ts';
import { nodeFacts, podFacts } from './objects.ts';

const POD = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', namespace: 'shop', labels: { app: 'web', odd: 1 } },
  spec: {
    nodeName: 'node-a',
    containers: [
      {
        name: 'web',
        ports: [{ name: 'http', containerPort: 8080 }, { containerPort: 9 }, { name: 'x', containerPort: 'y' }],
      },
      { name: 'dns', ports: [{ name: 'dns', containerPort: 53, protocol: 'UDP' }] },
    ],
    initContainers: [
      { name: 'sidecar', restartPolicy: 'Always', ports: [{ name: 'proxy', containerPort: 15_001 }] },
      { name: 'setup', ports: [{ name: 'gone', containerPort: 1 }] },
    ],
  },
  status: {
    phase: 'Running',
    podIP: '10.0.0.2',
    podIPs: [{ ip: '10.0.0.2' }, { ip: 'FD00::2' }],
    hostIP: '192.168.0.1',
  },
};

const texts = (addresses: readonly { readonly text: string }[] | undefined) => addresses?.map(({ text }) => text);

it('reads what policies ask of a Pod', () => {
  const facts = podFacts(POD);
  expect(facts).toMatchObject({
    namespace: 'shop',
    name: 'web',
    labels: { app: 'web' },
    isHostNetwork: false,
    node: 'node-a',
  });
  expect(texts(facts.addresses)).toEqual(['10.0.0.2', 'fd00::2']);
  expect(texts(facts.hostAddresses)).toEqual(['192.168.0.1']);
  expect(facts.ports).toEqual([
    { name: 'http', port: 8080, protocol: 'TCP' },
    { name: 'dns', port: 53, protocol: 'UDP' },
    { name: 'proxy', port: 15_001, protocol: 'TCP' },
  ]);
});

it('a Pod that has ended or has not started has no address', () => {
  expect(podFacts({ ...POD, status: { ...POD.status, phase: 'Succeeded' } }).addresses).toBeUndefined();
  expect(podFacts({ metadata: { name: 'new' } })).toMatchObject({
    namespace: 'default',
    addresses: undefined,
    node: undefined,
  });
});

it('reads any object that has a name', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), fc.jsonValue(), (labels, spec, status) => {
      const object = { metadata: { name: 'x', labels }, spec, status };
      expect(podFacts(object).name).toBe('x');
      expect(nodeFacts(object).name).toBe('x');
    }),
  );
  expect(() => podFacts({ metadata: { name: '' } })).toThrow('a Pod without a name');
});

const at = (ip: string) => {
  const address = parseAddress(ip);
  if (address === undefined) throw new Error(ip);
  return address;
};

it('of a namespace whose labels are not known, the name is known', () => {
  expect(podEnd(podFacts(POD), undefined).end.pod?.namespaceLabels).toEqual({
    values: { 'kubernetes.io/metadata.name': 'shop' },
    isComplete: false,
  });
});

it('says whether both ends are one Pod', () => {
  const pod = podEnd(podFacts(POD), {});
  const isItself = (ip: string, isPod: boolean | Unknown) =>
    connectionOf(addressEnd(at(ip), isPod, undefined), pod, 'TCP', 80).isToItself;
  expect(connectionOf(pod, pod, 'TCP', 80).isToItself).toBe(true);
  expect(isItself('10.0.0.2', new Unknown('x'))).toBe(true);
  expect(isItself('10.0.0.3', new Unknown('x'))).toBe(false);
  const pending = podEnd(podFacts({ metadata: { name: 'p' } }), {});
  const answer = connectionOf(pending, addressEnd(at('10.0.0.2'), new Unknown('x'), undefined), 'TCP', 80).isToItself;
  expect(answer).toEqual(new Unknown('address of default/p'));
});
