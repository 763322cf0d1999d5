import { expect, it } from 'vitest';
import { Cycle, freeCycle } from '#core/cycle.ts';
import { Unsupported } from '#core/reader.ts';
import { type KernelWalk, WalkSource } from './walk_source.ts';

/** Creates a source with a walk that can be made to fail. Counts how often the walk and the fallback are used. */
function setUp({ refusal = undefined as Error | undefined } = {}) {
  const seen = { opened: 0, closed: 0, passes: 0, others: 0 };
  const control = { fails: false, reason: 'the kernel refused' };
  const warnings: string[] = [];
  const walk: KernelWalk<string> = {
    read: async () => {
      seen.passes++;
      if (control.fails) throw new Error(control.reason);
      return 'pass';
    },
    [Symbol.dispose]: () => {
      seen.closed++;
    },
  };
  const source = new WalkSource<string>({
    what: 'counts',
    warn: (message) => warnings.push(message),
    open: async () => {
      seen.opened++;
      if (refusal !== undefined) throw refusal;
      return walk;
    },
    otherwise: async () => {
      seen.others++;
      return 'files';
    },
    otherwiseName: 'files',
  });
  return { source, seen, control, warnings };
}

it('opens for the first user and closes after the last, in any order of calls', async () => {
  const { source, seen } = setUp();
  const [one, two] = await Promise.all([source.use(), source.use()]);
  expect(seen).toMatchObject({ opened: 1, closed: 0 });
  await one[Symbol.asyncDispose]();
  expect(seen.closed).toBe(0);
  const [, three] = await Promise.all([two[Symbol.asyncDispose](), source.use()]);
  expect(seen.opened - seen.closed).toBe(1);
  await three[Symbol.asyncDispose]();
  expect(seen.opened).toBe(seen.closed);
});

it('reads once a cycle for all callers', async () => {
  const { source, seen } = setUp();
  await using _use = await source.use();
  const cycle = freeCycle();
  expect(await Promise.all([source.read(cycle), source.read(cycle)])).toEqual(['pass', 'pass']);
  expect(seen.passes).toBe(1);
  await source.read(freeCycle());
  expect(seen.passes).toBe(2);
});

it('uses the fallback if the kernel lacks what the walk needs, and says why: there it is the best way', async () => {
  const { source, seen, warnings } = setUp({ refusal: new Unsupported('no BTF') });
  await using _use = await source.use();
  expect(source.health).toEqual({ reader: 'files', note: 'no BTF', degraded: [] });
  expect(await source.read(freeCycle())).toBe('files');
  expect(seen.closed).toBe(0);
  expect(warnings).toEqual(['counts: the walk in the kernel does not run, so the reader is files: no BTF']);
});

it('is degraded if the walk does not open though the kernel could run it', async () => {
  const { source, warnings } = setUp({ refusal: new RangeError('66.7 is no BigInt') });
  await using _use = await source.use();
  expect(source.health).toMatchObject({
    reader: 'files',
    degraded: ['the walk in the kernel failed, so the reader is files: 66.7 is no BigInt'],
  });
  expect(warnings).toEqual(['counts: the walk in the kernel does not run, so the reader is files: 66.7 is no BigInt']);
});

it('switches to the fallback when the walk fails, within the same cycle, and closes it', async () => {
  const { source, seen, control, warnings } = setUp();
  await using _use = await source.use();
  expect(source.health.reader).toBe('pass');
  control.fails = true;
  expect(await source.read(freeCycle())).toBe('files');
  expect(source.health).toEqual({
    reader: 'files',
    note: 'the kernel refused',
    degraded: ['the walk in the kernel failed, so the reader is files: the kernel refused'],
  });
  expect(seen.closed).toBe(1);
  expect(await source.read(freeCycle())).toBe('files');
  expect(seen.passes).toBe(1);
  expect(warnings).toEqual(['counts: the walk in the kernel does not run, so the reader is files: the kernel refused']);
});

it('warns once for each reason, even if the walk is retried often', async () => {
  const { source, control, warnings } = setUp();
  control.fails = true;
  for (const reason of ['no memory', 'no memory', 'no right']) {
    control.reason = reason;
    await using _use = await source.use();
    await source.read(freeCycle());
  }
  expect(warnings.map((text) => text.split(': ').at(-1))).toEqual(['no memory', 'no right']);
});

it('keeps the walk when the cycle was aborted', async () => {
  const { source, control } = setUp();
  await using _use = await source.use();
  const controller = new AbortController();
  controller.abort(new Error('too late'));
  control.fails = true;
  await expect(source.read(new Cycle(controller.signal))).rejects.toThrow('too late');
  expect(source.health.reader).toBe('pass');
});

it('does not mistake a walk that was opened meanwhile for the one that failed', async () => {
  const opened: { closed: boolean; fail: (error: Error) => void }[] = [];
  const source = new WalkSource<string>({
    what: 'counts',
    warn: () => undefined,
    open: async () => {
      const { promise, reject } = Promise.withResolvers<string>();
      const walk = { closed: false, fail: reject };
      opened.push(walk);
      return {
        read: () => promise,
        [Symbol.dispose]: () => {
          walk.closed = true;
        },
      };
    },
    otherwise: async () => 'files',
    otherwiseName: 'files',
  });
  const first = await source.use();
  const reading = source.read(freeCycle());
  await new Promise((resolve) => setImmediate(resolve));
  await first[Symbol.asyncDispose]();
  await using _second = await source.use();
  opened[0]?.fail(new Error('closed'));
  expect(await reading).toBe('files');
  expect(opened.map(({ closed }) => closed)).toEqual([true, false]);
  expect(source.health).toEqual({ reader: 'pass', note: undefined, degraded: [] });
});
