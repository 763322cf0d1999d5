import type { BpfObject } from 'bpf-napi';
import { beforeEach, expect, it } from 'vitest';
import { misses, placeKey } from '#bpf/generated/common.ts';
import type { Counter } from '#core/counter.ts';
import { asNetnsId, type NetnsId, UNLISTED } from '#core/netns.ts';
import type { Owners } from './owners.ts';
import { PLACE_ROWS, PlaceRows } from './place_rows.ts';
import { restOf } from './tally.ts';

const WORDS = 2;
const [NODE, POD, OTHER] = [1, 2, 3].map(asNetnsId) as [NetnsId, NetnsId, NetnsId];
const HOST_POD = asNetnsId(2n ** 62n + 9n);
const CGROUP = 77;
const SLOT = 5;

interface Row {
  readonly netns: NetnsId;
  readonly cgroup?: Counter;
  readonly detail?: number;
  words: readonly [number, number];
}

/** Rows in the kernel. */
let kernel: Row[];
let owned: Set<NetnsId>;
let departed: Set<NetnsId>;
let dead: Set<NetnsId>;
let known: Set<Counter>;
let earlier: { value: ReturnType<typeof PLACE_ROWS.initial> };
let rows: PlaceRows;

function keyOf({ netns, cgroup = 0, detail = 0 }: Row): Uint8Array {
  return new Uint8Array(BigUint64Array.of(BigInt(netns), BigInt(cgroup), BigInt(detail)).buffer);
}

const object = {
  map: (name: string) => ({
    valueBytes: name === 'rows' ? WORDS * 8 : misses.SIZE,
    keyBytes: name === 'rows' ? placeKey.SIZE : 4,
    lookup: () => true,
    delete: (key: Uint8Array) => {
      kernel = kernel.filter((row) => Buffer.compare(keyOf(row), key) !== 0);
    },
    dump: () => {
      const bytes = Buffer.concat(
        kernel.flatMap((row) => [keyOf(row), new Uint8Array(BigUint64Array.from(row.words.map(BigInt)).buffer)]),
      );
      const stride = placeKey.SIZE + WORDS * 8;
      return {
        count: kernel.length,
        view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
        keyAt: (index: number) => index * stride,
        valueAt: (index: number) => index * stride + placeKey.SIZE,
      };
    },
  }),
} as unknown as BpfObject;

const owners = {
  homeOf: (id: NetnsId) => id,
  hasDeparted: (id: NetnsId) => departed.has(id),
  wasOwned: (id: NetnsId) => owned.has(id),
  isUnowned: (id: NetnsId) => id === OTHER,
  ownerOf: (slot: number) => (slot === SLOT ? { name: 'pod', home: POD } : undefined),
} as unknown as Owners;

function open(): PlaceRows {
  return new PlaceRows(object, {
    map: 'rows',
    owners,
    hostPods: {
      find: async () => undefined,
      subjectOf: (cgroup) => (known.has(cgroup) ? HOST_POD : undefined),
    },
    earlier,
    countOf: (words) => words[0] ?? 0,
  });
}

beforeEach(() => {
  kernel = [];
  owned = new Set([NODE, POD]);
  departed = new Set();
  dead = new Set();
  known = new Set([CGROUP]);
  earlier = { value: PLACE_ROWS.initial() };
  rows = open();
});

/** Returns the words of each subject and detail. */
function shown(): Record<string, readonly Counter[]> {
  return Object.fromEntries(rows.rows().map(({ subject, detail, words }) => [`${subject}/${detail}`, words]));
}

function sweep(): void {
  rows.sweep((id) => dead.has(id));
}

it('shows the rows of namespaces with an owner, by detail', () => {
  kernel = [
    { netns: POD, words: [3, 4] },
    { netns: POD, detail: 1, words: [5, 0] },
  ];
  expect(shown()).toEqual({ '2/0': [3, 4], '2/1': [5, 0] });
});

it('adds only the increase of a row', () => {
  const row: Row = { netns: POD, words: [3, 4] };
  kernel = [row];
  shown();
  row.words = [10, 4];
  expect(shown()).toEqual({ '2/0': [10, 4] });
  expect(shown()).toEqual({ '2/0': [10, 4] });
});

it('shows a Pod with hostNetwork apart from the node, once its cgroup was looked up', async () => {
  kernel = [
    { netns: NODE, words: [1, 0] },
    { netns: NODE, cgroup: CGROUP, words: [2, 0] },
    { netns: NODE, cgroup: 78, words: [4, 0] },
  ];
  expect(shown()).toEqual({ '1/0': [1, 0] });
  expect(rows.notShown().waiting).toBe(6);
  await rows.find();
  expect(shown()).toEqual({ '1/0': [5, 0], [`${HOST_POD}/0`]: [2, 0] });
  expect(rows.notShown().waiting).toBe(0);
});

it('waits for the owner of a new namespace, and shows namespaces without an owner together', () => {
  const late = asNetnsId(4);
  kernel = [
    { netns: OTHER, words: [1, 0] },
    { netns: late, words: [2, 0] },
  ];
  expect(shown()).toEqual({ [`${UNLISTED}/0`]: [1, 0] });
  owned.add(late);
  expect(shown()).toEqual({ [`${UNLISTED}/0`]: [1, 0], '4/0': [2, 0] });
});

it('shows an overflow row under the owner of its slot, until the slot is freed', () => {
  kernel = [
    { netns: restOf(SLOT), words: [7, 1] },
    { netns: restOf(0), words: [2, 0] },
  ];
  expect(shown()).toEqual({ '2/0': [7, 1], [`${UNLISTED}/0`]: [2, 0] });
  kernel = kernel.map((row, index) => (index === 0 ? { ...row, words: [9, 1] } : row));
  rows.freed(SLOT);
  expect(kernel.map(({ netns }) => netns)).toEqual([restOf(0)]);
  expect(rows.notShown().departed).toBe(2);
});

it('counts what a dead Pod had as departed, and keeps nothing of it', () => {
  kernel = [{ netns: POD, words: [3, 4] }];
  shown();
  dead.add(POD);
  sweep();
  expect(kernel).toEqual([]);
  expect(shown()).toEqual({});
  expect(rows.notShown().departed).toBe(3);
});

it('removes the row of a Pod with hostNetwork that has departed', async () => {
  kernel = [{ netns: NODE, cgroup: CGROUP, words: [3, 4] }];
  await rows.find();
  shown();
  departed.add(HOST_POD);
  sweep();
  expect(kernel).toEqual([]);
  expect(shown()).toEqual({});
  expect(rows.notShown().departed).toBe(3);
});

it('goes on with its totals in the next run', async () => {
  kernel = [
    { netns: POD, words: [3, 4] },
    { netns: NODE, cgroup: 78, words: [1, 1] },
    { netns: asNetnsId(4), words: [2, 2] },
  ];
  shown();
  rows.remember();
  kernel = [{ netns: POD, words: [1, 0] }];
  rows = open();
  // A cgroup that was not looked up belongs to the node, and a namespace whose owner was not found to nobody.
  expect(shown()).toEqual({ '2/0': [4, 4], '1/0': [1, 1], [`${UNLISTED}/0`]: [2, 2] });
});

it('loses and invents nothing, whatever happens to the rows', () => {
  let counted = 0;
  let seed = 1;
  const chance = (max: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed % max;
  };
  owned = new Set([POD, NODE, asNetnsId(4), asNetnsId(5)]);
  for (let step = 0; step < 3_000; step++) {
    const netns = asNetnsId(2 + chance(4));
    const row = kernel.find((one) => one.netns === netns) ?? { netns, words: [0, 0] as const };
    if (!kernel.includes(row)) kernel.push(row);
    const more = chance(5);
    row.words = [row.words[0] + more, 0];
    counted += more;
    if (chance(10) === 0) shown();
    if (chance(50) === 0) {
      dead = new Set([netns]);
      sweep();
      dead.clear();
    }
    if (chance(100) === 0) {
      rows.remember();
      kernel = [];
      rows = open();
    }
  }
  const total = Object.values(shown()).reduce((sum, [first]) => sum + Number(first), 0);
  const { departed: gone, waiting } = rows.notShown();
  expect(total + Number(gone) + Number(waiting)).toBe(counted);
});
