import { once } from 'node:events';
import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import { podObject } from '../../test/support/api_objects.ts';
import { eventually } from '../../test/support/oracle.ts';
import { VirtualClock } from '../../test/support/virtual_clock.ts';
import type { ApiSession } from './api.ts';
import { type Pod, podsOf } from './objects.ts';
import { Reflector, type Resource } from './reflector.ts';

/** Runs a reflector that receives these responses in order. Any further request gets no response. */
async function follow(answers: readonly Iterable<string>[], more: Partial<Resource<Pod>> = { max: 3 }) {
  const left = [...answers];
  const log: string[] = [];
  const pods = new Map<string, Pod>();
  let most = 0;
  const session: ApiSession = {
    server: 'api',
    request: async ({ signal }) => {
      const body = left.shift();
      if (body === undefined) await once(signal, 'abort');
      return { status: 200, retryAfter: undefined, body: Readable.from(body ?? [], { objectMode: false }) };
    },
    renew: () => undefined,
    [Symbol.dispose]: () => undefined,
  };
  const reflector = new Reflector(
    session,
    { ...podsOf('node-1'), ...more },
    {
      set: (uid, pod) => {
        pods.set(uid, pod);
        most = Math.max(most, pods.size);
      },
      delete: (uid) => void pods.delete(uid),
    },
    (_, message) => log.push(message),
    { answerMs: 60_000 },
    new VirtualClock(),
  );
  await eventually(() => expect(left).toEqual([]));
  return {
    reflector,
    log,
    most: () => most,
    names: () => [...pods.values()].map(({ name }) => name),
    [Symbol.asyncDispose]: () => reflector[Symbol.asyncDispose](),
  };
}

const item = (name: string) => JSON.stringify(podObject({ name, uid: `uid-${name}` }));
const list = (...names: readonly string[]) => [
  `{"metadata":{"resourceVersion":"7"},"items":[${names.map(item).join()}]}`,
];

function* endless(prefix: string): Generator<string> {
  yield '{"metadata":{"resourceVersion":"7"},"items":[';
  for (let nth = 0; ; nth++) yield `${item(`${prefix}${nth}`)},`;
}

it('gives up a list that does not end, with the reason, and keeps what it had', async () => {
  const event = `{"type":"ERROR","object":{"code":410}}\n`;
  await using scene = await follow([list('a', 'b'), [event], endless('x'), endless('y'), endless('z')]);
  await eventually(() => expect(scene.log).toContain('pods: api has more than 3 pods; the last known state is kept'));
  expect(scene.names()).toEqual(['a', 'b']);
  expect(scene.reflector.tally.objects).toBe(2);
});

it('makes space for a complete list if others that broke off have left too much', async () => {
  const page = (prefix: string) => [
    `{"metadata":{"resourceVersion":"7","continue":"more"},"items":[${item(`${prefix}1`)},${item(`${prefix}2`)}]}`,
  ];
  const broken = ['{"metadata":{},"items":['];
  const left = ['u', 'v', 'w', 'x', 'y', 'z'].flatMap((prefix) => [page(prefix), broken]);
  await using scene = await follow([...left, list('a', 'b', 'c')], { max: 3, list: 'pages' });
  await eventually(() => expect(scene.names().sort()).toEqual(['a', 'b', 'c']));
  expect(scene.most()).toBeLessThanOrEqual(6);
});

it('takes nothing of a list before it is complete', async () => {
  await using scene = await follow([
    list('a'),
    ['{"type":"ERROR","object":{"code":410}}\n'],
    [`{"metadata":{},"items":[${item('x')},`],
  ]);
  await eventually(() => expect(scene.log.length).toBeGreaterThan(1));
  expect(scene.names()).toEqual(['a']);
});

it('takes as many objects of an endless stream as of a list', async () => {
  const added = (name: string) => `{"type":"ADDED","object":${item(name)}}\n`;
  await using scene = await follow([list('a'), ['b', 'c', 'd', 'e'].map(added)]);
  await eventually(() => expect(scene.log).toContain('pods: api has more than 3 pods; the last known state is kept'));
  expect(scene.names()).toEqual(['a', 'b', 'c']);
});

it('a server’s message goes into a label and a line of the log as a number, and cut', async () => {
  const long = 'x'.repeat(3 << 20);
  const error = (code: unknown, message: unknown) => [
    `${JSON.stringify({ type: 'ERROR', object: { code, message } })}\n`,
  ];
  const forged = `no\n2026-01-01T00:00:00.000Z info forged \u001b[31m${long}`;
  await using scene = await follow([
    ...[
      error(`c${long}`, forged),
      error(1e300, { a: 1 }),
      error('410', 'as a text'),
      error(410, 'old'),
      [`{"type":"${long}"}\n`],
    ].flatMap((stream) => [list('a'), stream]),
    [`{"metadata":{"resourceVersion":"7"},"items":[${JSON.stringify(podObject({ name: long, uid: 'u' }))}]}`],
  ]);
  await eventually(() =>
    expect(scene.log.at(-1)).toContain('whose uid, name or namespace is not a string of at most 253 characters'),
  );
  expect([...scene.reflector.tally.requests.keys()].sort()).toEqual([
    'list 200',
    'watch 200',
    'watch 410',
    'watch error',
  ]);
  expect(scene.log.filter((line) => line.length > 1_100 || /\p{Cc}/u.test(line))).toEqual([]);
  expect(scene.log).toContainEqual(
    expect.stringContaining('ended the stream: no 2026-01-01T00:00:00.000Z info forged [31mxxx'),
  );
  expect(scene.log).toContainEqual(expect.stringContaining('ended the stream: 410 old'));
});
