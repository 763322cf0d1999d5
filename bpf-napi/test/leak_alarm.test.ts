import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { OBJECTS, objectPath } from './support/objects.ts';

const CHILD = join(import.meta.dirname, 'support/leak_child.ts');

async function run(thing: string, closes: 'close' | 'forget'): Promise<unknown> {
  const parameters = ['--expose-gc', '--no-warnings', CHILD, OBJECTS, thing, closes];
  const { stdout } = await promisify(execFile)(process.execPath, parameters, { timeout: 60_000 });
  return JSON.parse(stdout);
}

it('the garbage collector leaves an object alone while one of its maps is in use', async () => {
  expect(await run('map', 'forget')).toMatchObject({ warnings: [], programs: 2 });
});

it('the garbage collector leaves an object alone while one of its links is in use', async () => {
  expect(await run('link', 'forget')).toMatchObject({ warnings: [], programs: 2 });
});

it('an object that was forgotten with its link is closed with it by the garbage collector, with a warning', async () => {
  const warning = `BpfLeakWarning: BPF object ${objectPath('hooks')} was garbage collected while it was open`;
  expect(await run('forgotten link', 'forget')).toMatchObject({ warnings: [warning], programs: 1 });
});

describe.each([
  ['object', `BPF object ${objectPath('ring')}`],
  ['ring', 'BPF ring records'],
  ['epoll ring', 'BPF ring records'],
  ['statistics', 'BPF statistics'],
  ['subscription', 'netlink subscription'],
])('the garbage collector finds a thing (%s)', (thing, what) => {
  it('that was forgotten: closes it and warns', async () => {
    const warning = `BpfLeakWarning: ${what} was garbage collected while it was open`;
    expect(await run(thing, 'forget')).toEqual({ warnings: [warning], programs: 1, descriptors: 0 });
  });

  it('that was closed: says nothing', async () => {
    expect(await run(thing, 'close')).toEqual({ warnings: [], programs: 1, descriptors: 0 });
  });
});
