import { describe, expect, it } from 'vitest';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import type { NetnsRow } from '#sources/bpf/netns_list.ts';
import type { ContainerRef } from './cgroup.ts';
import { keepOwner, nodeNetns, ownerOf, type Place } from './owner.ts';
import { PROCESSES_MAX, type ProcessInfo } from './process_table.ts';

const UID = '0f0f0f0f-1111-2222-3333-444455556666';
const CONTAINER = 'ab'.repeat(32);
const OWN = 'cd'.repeat(32);

const entry = { id: asNetnsId(7), inum: 70, isNode: false };

/** A table of processes: name, start in seconds and container by number. */
function tableOf(processes: Readonly<Record<number, readonly [string, number, ContainerRef?]>>) {
  return {
    info: (pid: number): ProcessInfo | undefined => {
      const process = processes[pid];
      if (process === undefined) return undefined;
      const [comm, startSeconds, container] = process;
      return { pid, comm, startSeconds, container: () => container };
    },
  };
}

function place(id: number, pids: readonly number[]): Place {
  return { id: asNetnsId(id), inum: id * 10, pids, mount: undefined };
}

function rows(...ids: readonly [id: number, initial: boolean][]): ReadonlyMap<number, NetnsRow> {
  return new Map(ids.map(([id, initial]) => [id * 10, { id: asNetnsId(id), inum: id * 10, initial }]));
}

describe("the node's own namespace", () => {
  const live = rows([1, true], [2, false], [3, false]);
  const of = (places: readonly Place[], listed: typeof live | undefined, own: number): NetnsId | undefined =>
    nodeNetns(places, listed, () => own);

  it('is that of process 1', () => {
    expect(of([place(1, [5]), place(2, [9, 1])], live, 5)).toBe(2);
  });

  it("is the machine's first one where process 1 is not seen, if somebody is seen in that", () => {
    expect(of([place(3, [9]), place(1, [5])], live, 9)).toBe(1);
    expect(of([place(3, [9]), place(1, [])], live, 9)).toBe(3);
  });

  it("is the agent's where the kernel does not tell which is the first, and none where nothing tells", () => {
    expect(of([place(2, [5]), place(3, [9])], undefined, 9)).toBe(3);
    expect(of([place(2, [5])], undefined, 9)).toBeUndefined();
  });
});

describe('the owner of a namespace', () => {
  const pod: ContainerRef = { podUid: UID, containerId: CONTAINER };

  it('is the Pod of its oldest process that is in one', () => {
    const table = tableOf({ 3: ['pause', 20, pod], 4: ['sh', 10], 5: ['late', 30, { containerId: CONTAINER }] });
    expect(ownerOf(entry, { pids: [5, 3, 4], mount: 'cni-1' }, table, undefined)).toEqual({
      entity: { kind: 'pod', netns: 7, inum: 70, namespace: '', pod: UID, uid: UID, labels: {} },
      pids: [4, 3, 5],
      startSeconds: 10,
      settled: true,
    });
  });

  it('is a container without a Pod, by the first digits of its ID', () => {
    const { entity } = ownerOf(
      entry,
      { pids: [3], mount: undefined },
      tableOf({ 3: ['app', 1, { containerId: CONTAINER }] }),
      undefined,
    );
    expect(entity).toMatchObject({ kind: 'container', pod: CONTAINER.slice(0, 12), uid: CONTAINER });
  });

  it("is never the agent's own container, in which it may make namespaces", () => {
    const table = tableOf({ 3: ['agent', 1, { podUid: UID, containerId: OWN }] });
    expect(ownerOf(entry, { pids: [3], mount: 'blue' }, table, OWN).entity).toMatchObject({ kind: 'netns' });
    expect(ownerOf(entry, { pids: [3], mount: 'blue' }, table, CONTAINER).entity).toMatchObject({ kind: 'pod' });
  });

  it('is the mount, else the oldest process, else the number, and may still change', () => {
    const table = tableOf({ 8: ['sleep', 5], 6: ['sh', 5] });
    const named = (pids: readonly number[], mount?: string) => {
      const { entity, settled } = ownerOf(entry, { pids, mount }, table, undefined);
      return [entity.kind, entity.pod, settled];
    };
    expect(named([8, 6], 'blue')).toEqual(['netns', 'blue', false]);
    expect(named([8, 6])).toEqual(['process', 'sh-6', false]);
    expect(named([99])).toEqual(['process', 'netns-70', false]);
  });

  it('is the node for its own namespace, whoever is in it', () => {
    const table = tableOf({ 3: ['app', 1, pod] });
    const { entity, settled } = ownerOf({ ...entry, isNode: true }, { pids: [3], mount: 'x' }, table, undefined);
    expect([entity.kind, entity.pod, entity.uid, settled]).toEqual(['node', '', '', true]);
  });

  it('is looked for among a bounded number of processes', () => {
    const pids = Array.from({ length: PROCESSES_MAX + 1 }, (_, index) => index + 1);
    const table = tableOf({ 1: ['first', 1], [PROCESSES_MAX + 1]: ['last', 0, pod] });
    expect(ownerOf(entry, { pids, mount: undefined }, table, undefined).entity.pod).toBe('first-1');
  });
});

describe('an owner that was found before', () => {
  const none = { pids: [], mount: 'cni-1' };
  const asMount = ownerOf(entry, none, tableOf({}), undefined);
  const asPod = ownerOf(entry, { pids: [3], mount: 'cni-1' }, tableOf({ 3: ['a', 4, { podUid: UID }] }), undefined);

  it('stays when only the mount is left, with the start of its first process', () => {
    expect(keepOwner(asPod, asMount)).toEqual({ entity: asPod.entity, pids: [], startSeconds: 4, settled: true });
  });

  it('gives way to a better one, and to nothing before the first', () => {
    expect(keepOwner(asMount, asPod).entity.kind).toBe('pod');
    expect(keepOwner(undefined, asMount)).toEqual(asMount);
  });
});
