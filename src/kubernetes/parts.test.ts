import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { endpointSliceObject, nodeObject, podObject, serviceObject } from '../../test/support/api_objects.ts';
import { jsonLines, readList } from './json_stream.ts';
import { configMap, endpointSlices, NODES, podsOf, SERVICES, trimPod } from './objects.ts';
import { forbiddenPauseMs, pauseMs } from './pace.ts';

/** A text in chunks of any sizes. */
async function* chunks(text: string, sizes: readonly number[]): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text);
  let at = 0;
  for (let index = 0; at < bytes.length; index++) {
    const size = sizes[index % sizes.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 });

describe('a list', () => {
  it('is read item by item, whatever is in it and wherever it is cut', async () => {
    const item = fc.record({
      metadata: fc.record({ uid: fc.string(), items: fc.array(fc.string()) }),
      spec: fc.jsonValue(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(item, { maxLength: 6 }), sizes, fc.boolean(), async (items, cuts, isPretty) => {
        const list = {
          kind: 'PodList',
          metadata: { resourceVersion: '7', continue: 'x"[{' },
          items,
          after: [{ a: '}' }],
        };
        const found: unknown[] = [];
        const given = await readList(chunks(JSON.stringify(list, null, isPretty ? 2 : 0), cuts), (object) =>
          found.push(object),
        );
        expect(given).toEqual({ resourceVersion: '7', continue: 'x"[{' });
        expect(found).toEqual(JSON.parse(JSON.stringify(items)));
      }),
    );
  });

  it.each([
    ['breaks off', '{"metadata":{"resourceVersion":"1"},"items":[{"a":1},{"b"'],
    ['has no version', '{"metadata":{},"items":[]}'],
    ['is something else', '<html>busy</html>'],
  ])('that %s is none', async (_, text) => {
    await expect(readList(chunks(text, [7]), () => undefined)).rejects.toThrow();
  });

  it('with an object of endless length is refused before it fills the memory', async () => {
    async function* endless() {
      yield Buffer.from('{"metadata":{"resourceVersion":"1"},"items":[{"a":"');
      for (;;) yield Buffer.alloc(1024 * 1024, 'x');
    }
    await expect(readList(endless(), () => undefined)).rejects.toThrow('an object of more than 8388608 bytes');
  });
});

it('lines are read one by one, wherever they are cut', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.jsonValue(), { maxLength: 6 }), sizes, async (values, cuts) => {
      const text = values.map((value) => `${JSON.stringify(value)}\n`).join('');
      const found: unknown[] = [];
      for await (const value of jsonLines(chunks(`${text}{"cut o`, cuts))) found.push(value);
      expect(found).toEqual(JSON.parse(JSON.stringify(values)));
    }),
  );
});

describe('the pace', () => {
  it('is a request a second, and slower with each failure, up to eight seconds', () => {
    expect([0, 1, 2, 3, 9].map((failures) => pauseMs(failures, 1))).toEqual([1_000, 2_000, 4_000, 8_000, 8_000]);
    expect([0, 1, 2, 3, 9].map((failures) => pauseMs(failures, 0))).toEqual([1_000, 1_000, 2_000, 4_000, 4_000]);
    expect([0, 1].map(forbiddenPauseMs)).toEqual([30_000, 60_000]);
  });
});

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
      ips: ['10.0.0.1', 'fd00::1'],
    });
    for (const given of [{ phase: 'Succeeded' }, { phase: 'Failed' }, { hostNetwork: true }]) {
      expect(trimPod(podObject({ name: 'p', ips: ['10.0.0.1'], ...given }) as never).ips).toEqual([]);
    }
    expect(podsOf('n').fieldSelector).toContain('spec.nodeName=n');
  });

  it('a mirror’s annotation is believed where it cannot be another Pod’s UID', () => {
    const uidWith = (mirror: string) =>
      trimPod(podObject({ uid: 'own', name: 'p', annotations: { 'kubernetes.io/config.mirror': mirror } }) as never)
        .uid;
    expect(uidWith('0123456789abcdef0123456789abcdef')).toBe('0123456789abcdef0123456789abcdef');
    expect(uidWith('3f2a9c1e-7d54-4b0e-9a6b-0c1d2e3f4a5b')).toBe('own');
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
