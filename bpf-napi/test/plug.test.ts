import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BpfObject } from '../lib/index.ts';
import { TestCgroup } from './support/cgroup.ts';
import { TestNamespace } from './support/namespace.ts';
import { expectNothingLeft } from './support/nothing_left.ts';
import { loadObject, openObject, u32 } from './support/objects.ts';
import { countsOf, frame } from './support/packets.ts';
import { ownPrograms } from './support/process_state.ts';

const E2BIG = 7;
const EINVAL = 22;
const NOT_PLUGGED = 7;

expectNothingLeft();

/** Runs the dispatcher on a packet that selects the slot `place` of its program array. Returns the program's result. */
function call(base: BpfObject, place: number): number {
  return base.runPacket('dispatch_tc', frame(60, place)).result;
}

const loadBase = () => loadObject('packets', ['dispatch_tc']);
const loadParser = () => loadObject('parser', ['answer_42', 'answer_43']);

describe('plug', () => {
  it('puts programs of another object into slots; each link removes its own program', async () => {
    using base = await loadBase();
    using parser = await loadParser();
    const array = base.map('next_tc');
    expect(call(base, 1)).toBe(NOT_PLUGGED);
    const first = parser.plug('answer_42', array, 1);
    const second = parser.plug('answer_43', array, 3);
    expect([0, 1, 2, 3].map((place) => call(base, place))).toEqual([NOT_PLUGGED, 42, NOT_PLUGGED, 43]);
    first.close();
    first.close();
    expect([1, 3].map((place) => call(base, place))).toEqual([NOT_PLUGGED, 43]);
    second.close();
    expect(call(base, 3)).toBe(NOT_PLUGGED);
  });

  it('replaces the program in the slot; the link of the replaced program then removes nothing', async () => {
    using base = await loadBase();
    using parser = await loadParser();
    const replaced = parser.plug('answer_42', base.map('next_tc'), 1);
    parser.plug('answer_43', base.map('next_tc'), 1);
    expect(call(base, 1)).toBe(43);
    replaced.close();
    expect(call(base, 1)).toBe(43);
  });

  it('accepts a program of the same object', async () => {
    using base = await loadObject('packets', ['dispatch_tc', 'lengthen']);
    base.plug('lengthen', base.map('next_tc'), 0);
    expect(call(base, 0)).toBe(60);
    base.detach();
    expect(call(base, 0)).toBe(NOT_PLUGGED);
  });

  it('ends with the object of the program, which the array would otherwise keep alive', async () => {
    using base = await loadBase();
    const parser = await loadParser();
    const link = parser.plug('answer_42', base.map('next_tc'), 1);
    parser.close();
    expect(call(base, 1)).toBe(NOT_PLUGGED);
    expect(ownPrograms()).toEqual([base.programInfo('dispatch_tc').id]);
    link.close();
  });

  it('leaves nothing if the object of the array is closed first', async () => {
    const base = await loadBase();
    const parser = await loadParser();
    const link = parser.plug('answer_42', base.map('next_tc'), 1);
    base.close();
    link.close();
    parser.close();
  });

  it('may be closed after the slot was emptied through the map', async () => {
    using base = await loadBase();
    using parser = await loadParser();
    const link = parser.plug('answer_42', base.map('next_tc'), 1);
    expect(base.map('next_tc').delete(u32(1))).toBe(true);
    expect(base.map('next_tc').delete(u32(1))).toBe(false);
    expect(call(base, 1)).toBe(NOT_PLUGGED);
    expect(() => link.close()).not.toThrow();
  });

  it('leaves nothing behind after 200 rounds', async () => {
    using base = await loadBase();
    using parser = await loadParser();
    for (let round = 0; round < 200; round++) {
      using _link = parser.plug('answer_42', base.map('next_tc'), round % 4);
      expect(call(base, round % 4)).toBe(42);
    }
  });
});

describe('plug refuses', () => {
  it('a slot that the array does not have', async () => {
    using base = await loadBase();
    using parser = await loadParser();
    expect(() => parser.plug('answer_42', base.map('next_tc'), 4)).toThrow(
      expect.objectContaining({ code: 'BPF_ATTACH', operation: 'plug', subject: 'answer_42', errno: E2BIG }),
    );
  });

  it('a program with another type than the programs that use the array', async () => {
    using base = await loadBase();
    using parser = await loadObject('parser', ['parse']);
    expect(() => parser.plug('parse', base.map('next_tc'), 1)).toThrow(
      expect.objectContaining({
        code: 'BPF_ATTACH',
        errno: EINVAL,
        message: expect.stringContaining('next_tc only takes'),
      }),
    );
  });

  it('a map that is not a program array, and an array or program that is not loaded', async () => {
    using base = await loadBase();
    using unloaded = await openObject('packets', ['dispatch_tc']);
    using parser = await loadObject('parser', ['answer_42']);
    const refuses = (message: string) =>
      expect.objectContaining({ code: 'BPF_ATTACH', message: expect.stringContaining(message) });
    expect(() => parser.plug('answer_42', base.map('counts'), 1)).toThrow(refuses('is not a BPF_MAP_TYPE_PROG_ARRAY'));
    expect(() => parser.plug('answer_42', unloaded.map('next_tc'), 1)).toThrow(refuses('array is not loaded'));
    expect(() => parser.plug('answer_43', base.map('next_tc'), 1)).toThrow(refuses('program is not loaded'));
  });
});

describe('a program in an array that a cgroup calls', () => {
  let namespace: TestNamespace;
  let cgroup: TestCgroup;
  beforeAll(() => {
    namespace = new TestNamespace();
    namespace.batch('link set lo up');
    cgroup = new TestCgroup();
  });
  afterAll(() => {
    cgroup[Symbol.dispose]();
    namespace[Symbol.dispose]();
  });

  it('processes packets while it is in the array, and counts in the map of the base', async () => {
    using base = await loadObject('packets', ['dispatch']);
    await base.attachCgroup('dispatch', cgroup.path);
    using parser = await openObject('parser', ['parse']);
    parser.map('counts').reuse(base.map('counts'));
    await parser.load();
    cgroup.traffic(namespace, 2);
    const link = parser.plug('parse', base.map('next'), 2);
    cgroup.traffic(namespace, 3);
    link.close();
    cgroup.traffic(namespace, 5);
    expect(countsOf(base)).toMatchObject({ notPlugged: 7, parsed: 3 });
  });
});
