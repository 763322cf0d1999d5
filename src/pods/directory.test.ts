import { describe, expect, it } from 'vitest';
import { asNetnsId } from '#core/netns.ts';
import { PodDirectory } from './directory.ts';
import type { Entity } from './entity.ts';
import type { PodName } from './facts.ts';

function podName(uid: string, name: string, createdMs = 1): PodName {
  return {
    uid,
    namespace: 'shop',
    name,
    labels: { app: 'web' },
    workload: { kind: 'Deployment', name: 'web' },
    hostNetwork: false,
    createdMs,
    ips: [],
  };
}

function entity(kind: Entity['kind'], uid: string, id = 1): Entity {
  return { kind, netns: asNetnsId(id), inum: id, namespace: '', pod: uid, uid, labels: {} };
}

describe('the names of Pods', () => {
  it('depend on the UID alone, and only Pods have them', () => {
    const directory = new PodDirectory();
    directory.update({ whole: true, set: [podName('u1', 'web-1')], deleted: [] });
    expect(directory.name(entity('pod', 'u1'))).toMatchObject({ namespace: 'shop', pod: 'web-1', uid: 'u1' });
    expect(directory.name(entity('pod', 'u2'))).toMatchObject({ namespace: '', pod: 'u2' });
    expect(directory.name(entity('container', 'u1'))).toMatchObject({ namespace: '', pod: 'u1' });
  });

  it('stay for a Pod that is deleted while its namespace lives, for the last thousand', () => {
    const directory = new PodDirectory();
    const uids = Array.from({ length: 1_025 }, (_, index) => `u${index}`);
    directory.update({ whole: true, set: uids.map((uid) => podName(uid, `pod-${uid}`)), deleted: [] });
    directory.update({ whole: true, set: [podName('u1024', 'renamed')], deleted: [] });
    expect(directory.name(entity('pod', 'u0')).pod).toBe('pod-u0');
    directory.update({ whole: false, set: [], deleted: ['u1024', 'unknown'] });
    expect(directory.name(entity('pod', 'u1024')).pod).toBe('renamed');
    expect(directory.name(entity('pod', 'u0')).pod).toBe('u0');
  });

  it('have the configured labels, empty if a Pod has none', () => {
    const directory = new PodDirectory();
    directory.update({ whole: true, set: [podName('u1', 'web-1')], deleted: [] });
    directory.configure({ app: 'app', tier: 'tier', workload: '@workload', kind: '@workload_kind' });
    expect(directory.name(entity('pod', 'u1')).labels).toEqual({
      app: 'web',
      tier: '',
      workload: 'web',
      kind: 'Deployment',
    });
    const empty = { app: '', tier: '', workload: '', kind: '' };
    expect(directory.name(entity('pod', 'u2')).labels).toEqual(empty);
    expect(directory.noLabels).toEqual(empty);
  });

  it('order two Pods with one name by their creation', () => {
    const directory = new PodDirectory();
    directory.update({ whole: true, set: [podName('new', 'web', 2), podName('old', 'web', 1)], deleted: [] });
    const named = directory.nameAll([entity('pod', 'new', 1), entity('pod', 'old', 2), entity('node', '', 3)]);
    expect(named.map(({ uid }) => uid)).toEqual(['', 'old', 'new']);
  });
});
