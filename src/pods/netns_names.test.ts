import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { eventually } from '../../test/support/oracle.ts';
import { NetnsNames } from './netns_names.ts';

let root: string;
let folder: string;
let changes: number;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'names-'));
  folder = join(root, 'netns');
  changes = 0;
});
afterEach(() => rmSync(root, { recursive: true }));

/**
 * Makes a change, and waits until it is reported. inotify reports changes in order, so all earlier changes have then
 * been reported.
 */
async function expectChange(change: () => void): Promise<void> {
  const before = changes;
  change();
  await eventually(() => expect(changes).toBeGreaterThan(before));
}

it('reports each name that is added or removed', async () => {
  mkdirSync(folder);
  using names = new NetnsNames(folder, () => changes++);
  expect(names.follow()).toBe(true);
  await expectChange(() => writeFileSync(join(folder, 'blue'), ''));
  await expectChange(() => rmSync(join(folder, 'blue')));
});

it('continues where the directory is made later, or replaced by another', async () => {
  using names = new NetnsNames(folder, () => changes++);
  expect(names.follow()).toBe(true);
  mkdirSync(folder);
  names.follow();
  await expectChange(() => writeFileSync(join(folder, 'blue'), ''));
  await expectChange(() => renameSync(folder, join(root, 'old')));
  mkdirSync(folder);
  await eventually(async () => {
    names.follow();
    await expectChange(() => writeFileSync(join(folder, 'red'), ''));
  });
});

it('reports that names go unnoticed if the directory cannot be watched', () => {
  const file = join(root, 'file');
  writeFileSync(file, '');
  using names = new NetnsNames(join(file, 'netns'), () => changes++);
  expect(names.follow()).toBe(false);
});

it('is silent once it is disposed', async () => {
  mkdirSync(folder);
  using other = new NetnsNames(folder, () => changes++);
  other.follow();
  const names = new NetnsNames(folder, () => expect.unreachable());
  names.follow();
  names[Symbol.dispose]();
  await expectChange(() => writeFileSync(join(folder, 'blue'), ''));
});
