import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { type BpfObject, withNetns } from '../lib/index.ts';
import { TestNamespace } from './support/namespace.ts';
import { expectNothingLeft } from './support/nothing_left.ts';
import { canIterateMaps, loadObject, openObject, u32 } from './support/objects.ts';
import { ownPrograms } from './support/process_state.ts';

const E2BIG = 7;
const EBADF = 9;
const EINVAL = 22;
const ENOBUFS = 105;
const ENTRY_BYTES = 16;
const FILLER_BYTES = 4096;

expectNothingLeft();

const itOfMaps = it.runIf(await canIterateMaps());

const sync = (object: BpfObject, ...args: Parameters<BpfObject['readIterator']>) => object.readIterator(...args);
const async_ = (object: BpfObject, ...args: Parameters<BpfObject['readIterator']>) => object.readIteratorAsync(...args);

/** Loads an object whose map has `count` entries with the keys i and the values 1000 + i. */
async function loadEntries(count: number, programs: readonly string[], copies = 1): Promise<BpfObject> {
  const object = await openObject('iterators', programs);
  object.map('entries').resize(Math.max(count, 16));
  object.setVariable('copies', copies);
  await object.load();
  for (let i = 0; i < count; i++) {
    object.map('entries').update(u32(i), new Uint8Array(BigUint64Array.of(BigInt(1000 + i)).buffer));
  }
  return object;
}

function entriesOf(bytes: Uint8Array): [number, number][] {
  const words = new BigUint64Array(bytes.slice().buffer);
  const entries = Array.from({ length: words.length / 2 }, (_, i): [number, number] => [
    Number(words[2 * i]),
    Number(words[2 * i + 1]),
  ]);
  return entries.sort(([a], [b]) => a - b);
}

describe.each([
  ['readIterator', sync],
  ['readIteratorAsync', async_],
])('%s', (_name, read) => {
  // 10,000 entries take 160,000 bytes, which needs several reads and a growing buffer.
  itOfMaps.each([0, 1, 10_000])('returns the complete output for a map of %i entries', async (count) => {
    using object = await loadEntries(count, ['map_entries']);
    const map = object.map('entries');
    const bytes = await read(object, 'map_entries', { bytesMax: 1 << 20, map });
    expect(entriesOf(bytes)).toEqual(Array.from({ length: count }, (_, i) => [i, 1000 + i]));
  });

  itOfMaps('starts from the beginning each time', async () => {
    using object = await loadEntries(2, ['map_entries']);
    const map = object.map('entries');
    for (const expected of [2, 3]) {
      map.update(u32(expected - 1), new Uint8Array(8));
      const bytes = await read(object, 'map_entries', { bytesMax: 1000, map });
      expect(bytes).toHaveLength(expected * ENTRY_BYTES);
    }
  });

  itOfMaps('enforces the limit to the byte', async () => {
    using object = await loadEntries(100, ['map_entries']);
    const map = object.map('entries');
    const whole = await read(object, 'map_entries', { bytesMax: 100 * ENTRY_BYTES, map });
    expect(whole).toHaveLength(100 * ENTRY_BYTES);
    await expect(async () =>
      read(object, 'map_entries', { bytesMax: 100 * ENTRY_BYTES - 1, map }),
    ).rejects.toMatchObject({
      code: 'BPF_ITERATOR',
      operation: 'iterate',
      subject: 'map_entries',
      errno: ENOBUFS,
      message: expect.stringContaining('more than 1599 bytes'),
    });
  });

  itOfMaps('accepts less than 32 KiB of output for one entry and refuses more', async () => {
    using fits = await loadEntries(3, ['map_filler'], 7);
    const bytes = await read(fits, 'map_filler', { bytesMax: 1 << 20, map: fits.map('entries') });
    expect(bytes).toHaveLength(3 * 7 * FILLER_BYTES);
    using object = await loadEntries(1, ['map_filler'], 8);
    const options = { bytesMax: 1 << 20, map: object.map('entries') };
    await expect(async () => read(object, 'map_filler', options)).rejects.toMatchObject({
      code: 'BPF_ITERATOR',
      errno: E2BIG,
    });
  });

  itOfMaps('refuses a program that is not an iterator, and a map iterator without a map', async () => {
    using object = await loadEntries(1, ['map_entries', 'no_iterator']);
    await expect(async () => read(object, 'no_iterator', { bytesMax: 8 })).rejects.toMatchObject({
      code: 'BPF_ITERATOR',
      subject: 'no_iterator',
      errno: EINVAL,
    });
    await expect(async () => read(object, 'map_entries', { bytesMax: 8 })).rejects.toMatchObject({
      code: 'BPF_ITERATOR',
      errno: EBADF,
      message: expect.stringContaining('the map to walk is missing'),
    });
    using unloaded = await openObject('iterators', ['map_entries']);
    const map = unloaded.map('entries');
    await expect(async () => read(object, 'map_entries', { bytesMax: 8, map })).rejects.toMatchObject({ errno: EBADF });
  });

  it('returns the sockets in the namespace of the thread', async () => {
    using object = await loadObject('iterators', ['tcp_ports']);
    using namespace = new TestNamespace();
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    // The promise must be wrapped because withNetns does not return promises.
    const inside = withNetns(namespace.path, () => ({ bytes: read(object, 'tcp_ports', { bytesMax: 1 << 20 }) }));
    const home = await read(object, 'tcp_ports', { bytesMax: 1 << 20 });
    const closed = once(server, 'close');
    server.close();
    await closed;
    expect(await inside.bytes).toHaveLength(0);
    expect([...new Uint16Array(home.slice().buffer)]).toContain(port);
  });
});

it('an iterator that the kernel does not have is named in the error of the load', async () => {
  using object = await openObject('iterators', ['no_such_iterator']);
  await expect(object.load()).rejects.toMatchObject({
    code: 'BPF_LOAD',
    message: expect.stringContaining("'no_such_thing'"),
  });
});

itOfMaps('a walk continues to its end if the object is closed meanwhile, and then releases everything', async () => {
  const object = await loadEntries(10_000, ['map_entries']);
  const map = object.map('entries');
  const walks = [1, 2, 3].map(() => object.readIteratorAsync('map_entries', { bytesMax: 1 << 20, map }));
  object.close();
  for (const bytes of await Promise.all(walks)) expect(bytes).toHaveLength(10_000 * ENTRY_BYTES);
});

itOfMaps('nothing stays after 500 walks', async () => {
  using object = await loadEntries(10, ['map_entries']);
  const map = object.map('entries');
  for (let i = 0; i < 250; i++) {
    object.readIterator('map_entries', { bytesMax: 1000, map });
    await object.readIteratorAsync('map_entries', { bytesMax: 1000, map });
    expect(() => object.readIterator('map_entries', { bytesMax: 10, map })).toThrow();
  }
  expect(ownPrograms()).toEqual([object.programInfo('map_entries').id]);
});
