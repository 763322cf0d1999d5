import { beforeEach, expect, it } from 'vitest';
import { asNetnsId, type NetnsId, UNLISTED } from '#core/netns.ts';
import { FlowRow } from '#probe/flow_row.ts';
import { FlowSubjects } from './flow_subjects.ts';

const [NODE, POD, NOBODYS] = [1, 2, 3].map(asNetnsId) as [NetnsId, NetnsId, NetnsId];
const HOST_POD = asNetnsId(1n << 62n);
const CGROUP = 77;

let owned: Set<NetnsId>;
let unowned: Set<NetnsId>;
let departed: Set<NetnsId>;
let hostPods: Map<number, NetnsId>;
let serial: number;
let subjects: FlowSubjects;

beforeEach(() => {
  owned = new Set([NODE, POD]);
  unowned = new Set([NOBODYS]);
  departed = new Set();
  hostPods = new Map();
  serial = 0;
  subjects = new FlowSubjects(
    {
      homeOf: (id) => id,
      hasDeparted: (id) => departed.has(id),
      wasOwned: (id) => owned.has(id),
      isUnowned: (id) => unowned.has(id),
    },
    { subjectOf: (cgroup) => hostPods.get(Number(cgroup)) },
    {
      split: (row) => {
        row.isLast = true;
        const next = new FlowRow(++serial, row.key, row.place);
        next.continueFrom(row);
        return next;
      },
    },
  );
});

function rowOf(netns: NetnsId, cgroup = 0): FlowRow {
  return new FlowRow(++serial, `${serial}`, { netns, cgroup, role: 'client', peer: '10.0.0.1', port: 80 });
}

const shown = (...rows: FlowRow[]) => subjects.settle(rows).map(({ serial: of, subject }) => [of, subject]);

it('rows are shown under the owners of their namespaces, and all others as unlisted', () => {
  expect(shown(rowOf(POD), rowOf(NODE, CGROUP), rowOf(NOBODYS))).toEqual([
    [1, POD],
    [2, NODE],
    [3, UNLISTED],
  ]);
});

it('a row waits while its owner is searched for, and is unlisted if its namespace is gone before', () => {
  const row = rowOf(asNetnsId(9));
  expect(shown(row)).toEqual([]);
  row.isLast = true;
  expect(shown(row)).toEqual([[1, UNLISTED]]);
});

it('counts stay where they were shown, and go on under the owner that is found later', () => {
  const row = rowOf(NOBODYS);
  expect(shown(row)).toEqual([[1, UNLISTED]]);
  owned.add(NOBODYS);
  expect(shown(row)).toEqual([
    [1, UNLISTED],
    [2, NOBODYS],
  ]);
});

it('rows of the node belong to the Pod of their cgroup, and are abandoned when it has left the page', () => {
  const row = rowOf(NODE, CGROUP);
  hostPods.set(CGROUP, HOST_POD);
  expect(shown(row)).toEqual([[1, HOST_POD]]);
  departed.add(HOST_POD);
  expect(shown(row)).toEqual([]);
  expect(row.isAbandoned).toBe(true);
  // From now on, the Pod is unknown, and its cgroup belongs to the node.
  hostPods.clear();
  expect(shown(row)).toEqual([
    [1, HOST_POD],
    [2, NODE],
  ]);
});
