import { expect, it } from 'vitest';
import { parseCapture } from './arguments.ts';

const parse = (line: string) => parseCapture(line.split(' '));

it('the defaults bound every capture', () => {
  expect(parse('--pod shop/cart-0 -w -')).toMatchObject({
    targets: [{ kind: 'pod', namespace: 'shop', pod: 'cart-0' }],
    drops: false,
    filter: undefined,
    snap: 256,
    durationMs: 30_000,
    bytes: 64 * 1024 ** 2,
    packets: Number.POSITIVE_INFINITY,
    file: '-',
  });
});

it('accepts each kind of target, and limits', () => {
  expect(parse('--netns blue -w x').targets).toEqual([{ kind: 'netns', name: 'blue' }]);
  expect(parse('--pid 12 -w x').targets).toEqual([{ kind: 'pid', pid: 12 }]);
  expect(parse('--node -w x').targets).toEqual([{ kind: 'node' }]);
  expect(parse('--pod web -w x --peer shop/db').targets).toEqual([
    { kind: 'pod', namespace: undefined, pod: 'web' },
    { kind: 'pod', namespace: 'shop', pod: 'db' },
  ]);
  expect(parse('--node -w x --snap 1 --for 10m --max 1GiB --count 5')).toMatchObject({
    snap: 1,
    durationMs: 600_000,
    bytes: 1024 ** 3,
    packets: 5,
  });
});

it.each([
  ['-w x', 'capture: give one of --pod, --netns, --pid and --node'],
  ['--node --pid 1 -w x', 'capture: give one of --pod, --netns, --pid and --node'],
  ['--node', 'capture: give -w FILE, or -w - for standard output'],
  ['--pod a/b/c -w x', '--pod a/b/c: give NAMESPACE/POD, like shop/web-0'],
  ['--pod a/ -w x', '--pod a/: give NAMESPACE/POD, like shop/web-0'],
  ['--node --peer /b -w x', '--peer /b: give NAMESPACE/POD, like shop/web-0'],
  ['--pid 0 -w x', '--pid 0: give a number from 1 to 4194304'],
  ['--node -w x --snap 262145', '--snap 262145: give a number from 1 to 262144'],
  ['--node -w x --for 11m', '--for 11m: give a duration of up to 10m, like 30s'],
  ['--node -w x --for 0s', '--for 0s: give a duration of up to 10m, like 30s'],
  ['--node -w x --max 2GiB', '--max 2GiB: give a size from 1MiB to 1GiB, like 64MiB'],
  ['--node -w x --max 1B', '--max 1B: give a size from 1MiB to 1GiB, like 64MiB'],
  ['--node -w x --count 0', '--count 0: give a number from 1 to 999999999'],
])('refuses %s', (line, message) => {
  expect(() => parse(line)).toThrow(message);
});
