import { describe, expect, it } from 'vitest';
import type { PodsUpdate } from '#pods/facts.ts';
import type { Pod } from './objects.ts';
import { PodsFeed } from './pods_feed.ts';

const OWN = '3f2a9c1e-7d54-4b0e-9a6b-0c1d2e3f4a5b';

function pod(uid: string, name: string): Pod {
  return { uid, namespace: 'shop', name, labels: {}, owner: undefined, createdMs: 0, hostNetwork: false, ips: [] };
}

/**
 * Opens a feed. Also returns a function that returns what the feed has reported since the previous call: the names that
 * were set and the UIDs that were deleted.
 */
function open() {
  const updates: PodsUpdate[] = [];
  const feed = new PodsFeed((update) => updates.push(update));
  const told = () => {
    feed.flush();
    const all = updates.splice(0);
    return [...all.flatMap(({ set }) => set.map(({ name }) => name)), ...all.flatMap(({ deleted }) => deleted)];
  };
  return { feed, told };
}

describe('a UID that one object has itself and another in an annotation', () => {
  it('belongs to the first, whichever arrives first', () => {
    for (const order of [
      [OWN, 'mirror'],
      ['mirror', OWN],
    ]) {
      const { feed, told } = open();
      for (const object of order) feed.set(object, pod(OWN, object === OWN ? 'own' : 'forged'));
      expect(told()).toEqual(['own']);
      expect(feed.all.map(({ name }) => name)).toEqual(['own']);
      feed.set('mirror', pod(OWN, 'forged again'));
      expect(told()).toEqual([]);
    }
  });

  it('belongs to the other if the first does not exist, or no longer', () => {
    const { feed, told } = open();
    feed.set('mirror', pod(OWN, 'static'));
    expect(told()).toEqual(['static']);
    feed.set(OWN, pod(OWN, 'own'));
    expect(told()).toEqual(['own']);
    feed.delete(OWN);
    expect(told()).toEqual(['static']);
    feed.delete('mirror');
    expect(told()).toEqual([OWN]);
    expect(feed.all).toEqual([]);
  });
});
