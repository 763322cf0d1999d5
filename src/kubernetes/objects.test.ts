import { describe, expect, it } from 'vitest';
import { endpointSliceObject, nodeObject, podObject, serviceObject } from '../../test/support/api_objects.ts';
import { endpointSlices, nodesOf, remotePods, SERVICES } from './cluster_objects.ts';
import { parsePruned } from './json_prune.ts';
import { configMap, ownNode, podsOf, trimPod } from './objects.ts';

describe('the kept part of an object', () => {
  it('has name, labels, owner and own addresses of a Pod', () => {
    const owner = { kind: 'StatefulSet', name: 'db' };
    expect(
      trimPod(podObject({ uid: 'u', name: 'db-0', labels: { a: 'b' }, owner, ips: ['10.0.0.1', 'fd00::1'] }) as never),
    ).toEqual({
      uid: 'u',
      namespace: 'default',
      name: 'db-0',
      labels: { a: 'b' },
      owner,
      createdMs: Date.parse('2026-11-21T12:00:00Z'),
      hostNetwork: false,
      ips: ['10.0.0.1', 'fd00::1'],
    });
    for (const given of [{ phase: 'Succeeded' }, { phase: 'Failed' }, { hostNetwork: true }]) {
      expect(trimPod(podObject({ name: 'p', ips: ['10.0.0.1'], ...given }) as never).ips).toEqual([]);
    }
    // The selector does not exclude ended Pods, because their namespaces may still exist.
    expect(podsOf('n').fieldSelector).toBe('spec.nodeName=n');
  });

  it('has the UID of a static Pod’s manifest, a hash or a UUID, by its mirror’s annotation', () => {
    const uidWith = (mirror: string) =>
      trimPod(podObject({ uid: 'own', name: 'p', annotations: { 'kubernetes.io/config.mirror': mirror } }) as never)
        .uid;
    for (const uid of ['0123456789abcdef0123456789abcdef', '3f2a9c1e-7d54-4b0e-9a6b-0c1d2e3f4a5b']) {
      expect(uidWith(uid)).toBe(uid);
    }
    for (const text of ['', 'p', '3f2a9c1e-7d54-4b0e-9a6b', '0123456789ABCDEF0123456789ABCDEF']) {
      expect(uidWith(text)).toBe('own');
    }
  });

  it('has the addresses of other objects', () => {
    expect(nodesOf('whole', true).trim(nodeObject('n', ['192.0.2.1'], ['10.0.0.0/24'], 'z1') as never)).toEqual({
      name: 'n',
      labels: {},
      ips: ['192.0.2.1'],
      podCidrs: ['10.0.0.0/24'],
      zone: 'z1',
    });
    expect(SERVICES.trim(serviceObject('s', 'd', ['10.96.0.1', 'fd01::1']) as never)?.ips).toEqual([
      '10.96.0.1',
      'fd01::1',
    ]);
    expect(SERVICES.trim(serviceObject('headless', 'd', ['None']) as never)).toBeUndefined();
    const slice = endpointSliceObject('web-x7', 'd', [
      { name: 'a', ip: '10.0.0.1', zone: 'z1' },
      { name: 'ours', ip: '10.0.0.3', node: 'node-1' },
      { name: 'b', ip: '10.0.0.2', hasEnded: true },
    ]);
    expect(endpointSlices('node-1').trim(slice as never)).toEqual([
      { namespace: 'd', name: 'a', service: 'web', zone: 'z1', ips: ['10.0.0.1'], isHere: false },
      { namespace: 'd', name: 'ours', service: 'web', zone: '', ips: ['10.0.0.3'], isHere: true },
    ]);
    expect(endpointSlices('node-1').trim({ ...slice, endpoints: null } as never)).toBeUndefined();
    const metadata = { uid: 'u', name: 'c', namespace: 'd', resourceVersion: '3' };
    const map = configMap('d', 'c', 'k').trim({
      metadata,
      data: { k: 'text', other: 'long' },
      binaryData: { bin: '' },
    } as never);
    expect(map).toEqual({
      uid: 'u',
      resourceVersion: '3',
      text: 'text',
      isBinary: false,
      keys: ['k', 'other', 'bin'],
    });
  });

  it('has only Pods of a slice’s own namespace: nobody checks names of others', () => {
    const slice = endpointSliceObject('e-1', 'evil', [{ name: 'coredns-0', ip: '198.18.0.66' }]);
    const claiming = (namespace: string | undefined) =>
      endpointSlices('node-1').trim({
        ...slice,
        endpoints: [{ addresses: ['198.18.0.66'], targetRef: { kind: 'Pod', name: 'coredns-0', namespace } }],
      } as never);
    expect(claiming('kube-system')).toBeUndefined();
    const own = [{ namespace: 'evil', name: 'coredns-0', service: 'e', zone: '', ips: ['198.18.0.66'], isHere: false }];
    expect(claiming('evil')).toEqual(own);
    expect(claiming(undefined)).toEqual(own);
  });

  it('has nothing of a value that is not a text, and cuts a long one to the length of a name', () => {
    const long = 'x'.repeat(1 << 20);
    const pod = podsOf('n').trim({
      metadata: {
        uid: 'u',
        name: 'p',
        labels: {
          a: 1,
          b: { c: 'd' },
          app: 'web',
          ...Object.fromEntries(Array.from({ length: 9 }, (_, nth) => [`k${nth}`, 'y'.repeat(4_000)])),
        },
        ownerReferences: [{ kind: long, name: long, controller: true }],
      },
      status: { podIPs: [{ ip: 5 }, { ip: '10.0.0.1' }] },
    } as never);
    expect(pod?.owner?.name).toHaveLength(253);
    expect(pod?.ips).toEqual(['10.0.0.1']);
    expect(Object.keys(pod?.labels ?? {})).toEqual(['app', 'k0', 'k1', 'k2', 'k3']);
  });

  it('has no key of a ConfigMap that every object inherits', () => {
    const metadata = { uid: 'u', name: 'c', namespace: 'd', resourceVersion: '3' };
    expect(configMap('d', 'c', 'constructor').trim({ metadata, data: { k: 'text' } } as never)).toMatchObject({
      text: undefined,
      isBinary: false,
    });
  });

  it('has also a text in binaryData of a ConfigMap, as a volume would have it', () => {
    const metadata = { uid: 'u', name: 'c', namespace: 'd', resourceVersion: '3' };
    const textOf = (bytes: Buffer) =>
      configMap('d', 'c', 'k').trim({ metadata, binaryData: { k: bytes.toString('base64') } } as never);
    expect(textOf(Buffer.from('log: { level: debug } # ü'))).toMatchObject({
      text: 'log: { level: debug } # ü',
      isBinary: false,
    });
    expect(textOf(Buffer.from([0xff, 0x00]))).toMatchObject({ text: undefined, isBinary: true });
  });

  it('is read without unnamed fields: no environment of a Pod, and all fields that trimming needs', () => {
    const pod = {
      ...podObject({ uid: 'u', name: 'p', ips: ['10.0.0.1'], labels: { a: 'b' } }),
      spec: { nodeName: 'n', containers: [{ env: [{ name: 'PASSWORD', value: 'secret' }] }] },
    };
    const resource = podsOf('n');
    const read = parsePruned(Buffer.from(JSON.stringify(pod)), resource.keep);
    expect(JSON.stringify(read)).not.toMatch(/secret|containers/);
    expect(resource.trim(read as never)).toEqual(resource.trim(pod as never));
    const all = [
      [ownNode('n'), nodeObject('n', ['192.0.2.1'], ['10.0.0.0/24'])],
      [nodesOf('whole', true), nodeObject('n', ['192.0.2.1'], ['10.0.0.0/24'], 'z1')],
      [remotePods('whole', 'n'), podObject({ name: 'p', ips: ['10.0.0.1'], labels: { 'pod-template-hash': 'x' } })],
      [SERVICES, serviceObject('s', 'd', ['10.96.0.1'])],
      [endpointSlices('n'), endpointSliceObject('e-1', 'd', [{ name: 'b', ip: '10.0.0.2', zone: 'z1' }])],
      [configMap('d', 'c', 'k'), { metadata: { uid: 'u', name: 'c', resourceVersion: '3' }, data: { k: 'text' } }],
    ] as const;
    for (const [{ keep, trim, name }, object] of all) {
      const pruned = parsePruned(Buffer.from(JSON.stringify(object)), keep);
      expect(trim(pruned as never), name).toEqual(trim(object as never));
    }
  });
});
