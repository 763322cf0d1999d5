import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { beforeEach, expect, it } from 'vitest';
import { Collection } from './collection.ts';

let collection: Collection;
/** Names of started and finished steps, in order. */
let steps: string[];
let begun: number;
let nowMs: number;
/** Gates at which collections and reads wait, by name. */
let gates: Map<string, PromiseWithResolvers<void>>;

function gate(name: string): Promise<void> {
  const made = Promise.withResolvers<void>();
  gates.set(name, made);
  steps.push(`${name} begins`);
  return made.promise.finally(() => steps.push(`${name} ends`));
}

/** Waits until all work has either finished or reached a gate. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
}

async function open(name: string, error?: Error): Promise<void> {
  const waiting = gates.get(name);
  if (waiting === undefined) throw new Error(`${name} has not begun: ${steps.join(', ')}`);
  if (error === undefined) waiting.resolve();
  else waiting.reject(error);
  await settle();
}

function page(name: string): Promise<string> {
  return collection.fresh(async () => {
    await gate(name);
    return name;
  });
}

beforeEach(() => {
  steps = [];
  gates = new Map();
  begun = 0;
  nowMs = 0;
  collection = new Collection(
    () => {
      begun++;
      return gate(`collection ${begun}`);
    },
    () => nowMs,
  );
});

it('is shared by all callers that ask before it has ended', async () => {
  const pages = [page('a'), page('b')];
  await settle();
  pages.push(page('c'));
  await settle();
  expect(steps).toEqual(['collection 1 begins']);
  await open('collection 1');
  expect(steps).toEqual(['collection 1 begins', 'collection 1 ends', 'a begins', 'b begins', 'c begins']);
  for (const name of ['a', 'b', 'c']) await open(name);
  expect(await Promise.all(pages)).toEqual(['a', 'b', 'c']);
});

it('waits until every page of the one before is read, and is shared while it waits', async () => {
  void page('a');
  void page('b');
  await settle();
  await open('collection 1');
  const later = [page('c'), page('d')];
  await settle();
  await open('a');
  expect(steps.at(-1)).toBe('a ends');
  await open('b');
  expect(steps.slice(-2)).toEqual(['b ends', 'collection 2 begins']);
  await open('collection 2');
  await open('c');
  await open('d');
  expect(await Promise.all(later)).toEqual(['c', 'd']);
  expect(begun).toBe(2);
});

it('reports its failure to all callers that share it, and the next call starts another', async () => {
  const pages = [page('a'), page('b')];
  const outcomes = Promise.allSettled(pages);
  await settle();
  await open('collection 1', new Error('broken'));
  expect(await outcomes).toMatchObject([{ reason: { message: 'broken' } }, { reason: { message: 'broken' } }]);
  const next = page('c');
  await settle();
  await open('collection 2');
  await open('c');
  expect(await next).toBe('c');
});

it('continues after a page that could not be read', async () => {
  const failed = expect(page('a')).rejects.toThrow('broken');
  await settle();
  await open('collection 1');
  void page('b');
  await settle();
  expect(steps.at(-1)).toBe('a begins');
  await open('a', new Error('broken'));
  await failed;
  expect(steps.at(-1)).toBe('collection 2 begins');
});

it('is reused if it is recent and no other has begun; the next one waits for that read', async () => {
  const recent = (name: string) => collection.recent(2_000, () => gate(name));
  void recent('first');
  await settle();
  await open('collection 1');
  await open('first');
  nowMs = 1_999;
  void recent('second');
  expect(steps.at(-1)).toBe('second begins');
  void page('a');
  void recent('third');
  await settle();
  expect(steps.at(-1)).toBe('second begins');
  await open('second');
  expect(steps.at(-1)).toBe('collection 2 begins');
  await open('collection 2');
  expect(steps.slice(-2)).toEqual(['a begins', 'third begins']);
  await open('a');
  await open('third');
  nowMs += 2_000;
  void recent('fourth');
  await settle();
  expect(steps.at(-1)).toBe('collection 3 begins');
});

it('is not reused if it failed', async () => {
  const failed = expect(page('a')).rejects.toThrow('broken');
  await settle();
  await open('collection 1', new Error('broken'));
  await failed;
  void collection.recent(2_000, () => gate('b'));
  await settle();
  expect(steps.at(-1)).toBe('collection 2 begins');
});

it('keeps no reference to the results', async () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  collection = new Collection(async () => undefined);
  const read = async () => new WeakRef(await collection.fresh(async () => ({ chunks: ['page'] })));
  const first = await read();
  await read();
  await settle();
  collectGarbage();
  expect(first.deref()).toBeUndefined();
});
