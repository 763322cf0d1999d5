import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { freeCycle } from '#core/cycle.ts';
import { DEFAULT_PATHS, type Paths } from '#core/paths.ts';
import { Sandboxes } from './sandboxes.ts';

const UID = '0f0f0f0f-1111-2222-3333-444455556666';
const OTHER = '9f9f9f9f-1111-2222-3333-444455556666';
const [BOX, BOX2, BOX3] = ['ab', 'cd', 'ef'].map((digits) => digits.repeat(32)) as [string, string, string];

let root: string;
let paths: Paths;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sandboxes-'));
  paths = { ...DEFAULT_PATHS, proc: join(root, 'proc'), cgroup: join(root, 'cgroup') };
});

afterEach(() => rmSync(root, { recursive: true }));

function put(path: string, text = ''): void {
  mkdirSync(join(root, path, '..'), { recursive: true });
  writeFileSync(join(root, path), text);
}

it.each([
  ['v2', ''],
  ['v1', 'memory'],
  ['hybrid', 'unified'],
])('the Pod of a virtual machine is the one that has a folder of its sandbox: %s', async (_, hierarchy) => {
  const of = (...folders: string[]) => put(join('cgroup', hierarchy, ...folders, 'cgroup.procs'));
  of();
  of('kubepods', `pod${UID}`, `kata_${BOX}`);
  of('kubepods.slice', `kubepods-pod${OTHER.replaceAll('-', '_')}.slice`, `cri-containerd-${BOX2}.scope`);
  // A process in a container may create cgroups that have the names of another Pod's sandbox.
  of('docker', BOX2, `pod${UID}`, BOX3);
  of('kubepods', `pod${UID}`, `kata_${BOX}`, BOX3);
  for (const [pid, id] of [BOX, BOX2, BOX3].entries()) put(`proc/${pid + 1}/cgroup`, `0::/kata_overhead/${id}\n`);
  const containers = [BOX, BOX2, BOX3].map((containerId, index) => ({ containerId, pid: index + 1 }));
  expect(await new Sandboxes(paths).podsOf(containers, freeCycle())).toEqual(
    new Map([
      [BOX, UID],
      [BOX2, OTHER],
    ]),
  );
});

it('searches only for machines of Kata', async () => {
  put('cgroup/cgroup.procs');
  put(`cgroup/kubepods/pod${UID}/${BOX}/cgroup.procs`);
  put('proc/1/cgroup', `0::/docker/${BOX}\n`);
  const gone = { containerId: BOX, pid: 2 };
  expect(await new Sandboxes(paths).podsOf([{ containerId: BOX, pid: 1 }, gone], freeCycle())).toEqual(new Map());
});
