import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { type BpfObject, BpfRing, type RingOptions } from '../lib/index.ts';
import { expectNothingLeft } from './support/nothing_left.ts';
import { loadObject, openObject, u32 } from './support/objects.ts';
import { ownPrograms } from './support/process_state.ts';

const RING: RingOptions = {
  recordBytesMax: 256,
  intervalMs: 60_000,
  bufferBytes: 4096,
  onBatch: () => {},
  onError: (error) => {
    throw error;
  },
};

expectNothingLeft();

function execsCounted(object: BpfObject): bigint {
  const count = new BigUint64Array(1);
  object.map('execs').lookup(u32(0), new Uint8Array(count.buffer));
  return count[0] ?? 0n;
}

it('runs a program with the constants that were set before the load', async () => {
  using object = await openObject('maps', ['constant']);
  object.setVariable('enabled', true);
  object.setVariable('small', 255);
  object.setVariable('key_step', 0xfffffffe);
  object.setVariable('value_base', 2n ** 64n - 5n);
  object.setVariable('label', new TextEncoder().encode('first-finalZ'));
  await object.load();
  const results = [0n, 1n, 2n, 3n, 4n, 5n].map((which) => object.run('constant', BigUint64Array.of(which)));
  expect(results).toEqual([1, 255, 0xfffffffe, 2 ** 32 - 5, 0x665a, 7]);
});

it('changes a variable in .data before and after the load, and only this one', async () => {
  using object = await openObject('maps', ['constant']);
  const values = () => [6n, 7n, 1n].map((which) => object.run('constant', BigUint64Array.of(which)));
  object.setVariable('limit', 6);
  await object.load();
  expect(values()).toEqual([6, 0x1_0002, 1]);
  object.setVariable('limit', 2 ** 32 - 1);
  expect(values()).toEqual([2 ** 32 - 1, 0x1_0002, 1]);
  object.setVariable('ports', new Uint8Array(Uint16Array.of(3, 0xffff).buffer));
  expect(values()).toEqual([2 ** 32 - 1, 0x3_ffff, 1]);
});

it('counts while a program is attached; after detach, the count stays and the map can be read', async () => {
  using object = await loadObject('hooks', ['count_exec']);
  expect(execsCounted(object)).toBe(0n);
  await object.attach('count_exec');
  execFileSync('true');
  object.detach();
  const counted = execsCounted(object);
  expect(counted).toBeGreaterThan(0n);
  execFileSync('true');
  expect(execsCounted(object)).toBe(counted);
});

it('loads the chosen programs only', async () => {
  using object = await loadObject('maps', ['constant']);
  expect(ownPrograms()).toEqual([object.programInfo('constant').id]);
  expect(() => object.run('fill', BigUint64Array.of(1n))).toThrow(expect.objectContaining({ code: 'BPF_RUN' }));
});

it('lists the programs and maps of a file that is not loaded', async () => {
  using object = await openObject('hooks', []);
  expect(object.programs).toContainEqual({ name: 'count_exec', section: 'tp_btf/sched_process_exec' });
  expect([...object.maps.keys()]).toEqual(['execs']);
  expect(ownPrograms()).toEqual([]);
});

it('may be closed twice', async () => {
  const object = await loadObject('ring', ['emit']);
  const ring = new BpfRing(object, 'records', RING);
  for (const handle of [ring, object, ring, object]) handle.close();
  expect(ownPrograms()).toEqual([]);
});

it('lets a ring outlive its object', async () => {
  const object = await loadObject('ring', ['emit']);
  using ring = new BpfRing(object, 'records', RING);
  object.run('emit', BigUint64Array.of(1n, 32n));
  object.close();
  expect(ring.drain()).toBe(8 + 32);
});

it('lets an object outlive its ring', async () => {
  using object = await loadObject('ring', ['emit']);
  new BpfRing(object, 'records', RING).close();
  expect(object.run('emit', BigUint64Array.of(1n, 32n))).toBe(0);
});

it('closes at the end of the block that uses it', async () => {
  let outside: BpfObject;
  {
    using inside = await loadObject('maps', ['fill']);
    outside = inside;
  }
  expect(() => outside.map('pairs').fd).toThrow(expect.objectContaining({ code: 'BPF_CLOSED' }));
});

it('leaves nothing behind after 200 rounds', async () => {
  for (let round = 0; round < 200; round++) {
    const object = await loadObject('hooks', ['count_exec']);
    await object.attach('count_exec');
    object.close();
  }
});

describe('while a load is in progress', () => {
  it('refuses other work on the object', async () => {
    using object = await openObject('verifier', ['slow_1']);
    const load = object.load();
    expect(() => object.detach()).toThrow(expect.objectContaining({ code: 'BPF_BUSY' }));
    expect(() => object.map('values').fd).toThrow(expect.objectContaining({ code: 'BPF_BUSY' }));
    expect(() => new BpfRing(object, 'values', RING)).toThrow(expect.objectContaining({ code: 'BPF_BUSY' }));
    await expect(object.load()).rejects.toMatchObject({ code: 'BPF_BUSY' });
    expect(() => object.runPacket('slow_1', new Uint8Array(60))).toThrow(expect.objectContaining({ code: 'BPF_BUSY' }));
    await expect(object.attachCgroup('slow_1', '/')).rejects.toMatchObject({ code: 'BPF_BUSY' });
    await load;
    expect(() => object.detach()).not.toThrow();
  });

  it('can be closed: the load rejects and nothing stays', async () => {
    const object = await openObject('verifier', ['slow_1']);
    const load = object.load();
    object.close();
    object.close();
    await expect(load).rejects.toMatchObject({ code: 'BPF_CLOSED' });
  });

  it('is used as before during an attach', async () => {
    using object = await loadObject('hooks', ['count_exec']);
    const attach = object.attach('count_exec');
    expect(object.programInfo('count_exec').id).toBeGreaterThan(0);
    expect(object.map('execs').lookup(new Uint8Array(4), new Uint8Array(8))).toBe(true);
    await attach;
  });

  it('can be closed in an attach: the attach rejects and nothing stays', async () => {
    const object = await loadObject('hooks', ['count_exec']);
    const attach = object.attach('count_exec');
    object.close();
    await expect(attach).rejects.toMatchObject({ code: 'BPF_CLOSED' });
  });

  it('does not block the event loop', async () => {
    using object = await openObject('verifier', ['slow_1', 'slow_2', 'slow_3']);
    let turns = 0;
    let isLoading = true;
    const turn = () => {
      turns++;
      if (isLoading) setImmediate(turn);
    };
    setImmediate(turn);
    await object.load();
    isLoading = false;
    // If the load ran on this thread, it would block the event loop until it finished.
    expect(turns).toBeGreaterThan(10);
  });
});

describe('after close', () => {
  const bytes = new Uint8Array(64);
  const calls: Record<string, (object: BpfObject) => unknown> = {
    choosePrograms: (object) => object.choosePrograms(['fill']),
    setVariable: (object) => object.setVariable('small', 1),
    load: (object) => object.load(),
    attach: (object) => object.attach('fill'),
    attachCgroup: (object) => object.attachCgroup('fill', '/'),
    plug: (object) => object.plug('fill', object.map('pairs'), 0),
    runPacket: (object) => object.runPacket('fill', bytes),
    readIterator: (object) => object.readIterator('fill', { bytesMax: 1 }),
    readIteratorAsync: (object) => object.readIteratorAsync('fill', { bytesMax: 1 }),
    detach: (object) => object.detach(),
    run: (object) => object.run('fill', BigUint64Array.of(1n)),
    programInfo: (object) => object.programInfo('fill'),
    'map.fd': (object) => object.map('pairs').fd,
    'map.resize': (object) => object.map('pairs').resize(8),
    'map.reuse': (object) => object.map('pairs').reuse(object.map('pairs')),
    'map.create': (object) => object.map('pairs').create(false),
    'map.lookup': (object) => object.map('pairs').lookup(bytes, bytes),
    'map.update': (object) => object.map('pairs').update(bytes, bytes),
    'map.delete': (object) => object.map('pairs').delete(bytes),
    'map.dump': (object) => object.map('pairs').dump(),
    'map.readMapped': (object) => object.map('rows').readMapped(bytes, 8),
    'map.writeMapped': (object) => object.map('rows').writeMapped(0, bytes),
    'new BpfRing': (object) => new BpfRing(object, 'rows', RING),
  };

  it.each(Object.entries(calls))('%s says so', async (_name, call) => {
    const object = await loadObject('maps', ['fill']);
    object.close();
    await expect(async () => await call(object)).rejects.toMatchObject({ name: 'BpfError', code: 'BPF_CLOSED' });
  });

  it('the drain of a ring says so', async () => {
    using object = await loadObject('ring', ['emit']);
    const ring = new BpfRing(object, 'records', RING);
    ring.close();
    expect(() => ring.drain()).toThrow(expect.objectContaining({ code: 'BPF_CLOSED' }));
  });
});
