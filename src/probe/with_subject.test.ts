import { expect, it } from 'vitest';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { withSubject } from './host_pods.ts';

const NODE = asNetnsId(1);
const POD = asNetnsId(2n ** 62n + 1n);

/** Returns the subject of a socket in the node's namespace. @param find looks up the socket's cgroup */
function subjectOf(cgroup: number, find: () => Promise<void>, found?: NetnsId): Promise<NetnsId> {
  return new Promise((resolve) => withSubject({ find, subjectOf: () => found }, { netns: NODE, cgroup }, resolve));
}

it('is the namespace of a socket without a cgroup, at once', () => {
  const subjects: NetnsId[] = [];
  withSubject(
    { find: () => Promise.reject(new Error()), subjectOf: () => POD },
    { netns: NODE, cgroup: 0 },
    (subject) => subjects.push(subject),
  );
  expect(subjects).toEqual([NODE]);
});

it('is the Pod of the cgroup, once it was looked up', async () => {
  expect(await subjectOf(7, () => Promise.resolve(), POD)).toBe(POD);
});

it('is the node if the cgroup is unknown, or cannot be looked up', async () => {
  expect(await subjectOf(7, () => Promise.resolve())).toBe(NODE);
  expect(await subjectOf(7, () => Promise.reject(new Error('no cgroups')))).toBe(NODE);
});
