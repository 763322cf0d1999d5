import { describe, expect, it } from 'vitest';
import { endpointSliceObject, nodeObject, podObject, serviceObject } from '../../test/support/api_objects.ts';
import { configMap, endpointSlices, NODES, podsOf, SERVICES, trimPod } from './objects.ts';

describe('what is kept of an object', () => {
  it('of a Pod: its name, labels, owner, and its own addresses', () => {
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
    // Also those that have ended: their namespaces may live on.
    expect(podsOf('n').fieldSelector).toBe('spec.nodeName=n');
  });

  it('a static Pod has the UID of its manifest, a hash or a UUID, by its mirror’s annotation', () => {
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

  it('of the others their addresses', () => {
    expect(NODES.trim(nodeObject('n', ['192.0.2.1'], ['10.0.0.0/24']) as never)).toEqual({
      name: 'n',
      labels: {},
      ips: ['192.0.2.1'],
      podCidrs: ['10.0.0.0/24'],
    });
    expect(SERVICES.trim(serviceObject('s', 'd', ['10.96.0.1', 'fd01::1']) as never)?.ips).toEqual([
      '10.96.0.1',
      'fd01::1',
    ]);
    expect(SERVICES.trim(serviceObject('headless', 'd', ['None']) as never)).toBeUndefined();
    const slice = endpointSliceObject('e', 'd', [
      { name: 'a', ip: '10.0.0.1' },
      { name: 'ours', ip: '10.0.0.3', node: 'node-1' },
      { name: 'b', ip: '10.0.0.2', hasEnded: true },
    ]);
    expect(endpointSlices('node-1').trim(slice as never)).toEqual([{ namespace: 'd', name: 'a', ips: ['10.0.0.1'] }]);
    expect(endpointSlices('node-1').trim({ ...slice, endpoints: null } as never)).toBeUndefined();
    const metadata = { uid: 'u', name: 'c', namespace: 'd', resourceVersion: '3' };
    const map = configMap('d', 'c', 'k').trim({
      metadata,
      data: { k: 'text', other: 'long' },
      binaryData: { bin: '' },
    } as never);
    expect(map).toEqual({ uid: 'u', resourceVersion: '3', text: 'text', keys: ['k', 'other', 'bin'] });
  });
});
