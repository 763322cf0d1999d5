import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Unsupported } from '#core/reader.ts';
import { rootOfCgroups } from './cgroup_root.ts';

let mount: string;
beforeEach(() => {
  mount = mkdtempSync(join(tmpdir(), 'cgroup-root-'));
});
afterEach(() => rmSync(mount, { recursive: true }));

function makeCgroup(folder: string, ...files: readonly string[]): void {
  mkdirSync(folder, { recursive: true });
  for (const file of files) writeFileSync(join(folder, file), '');
}

it('is the mount, or `unified` beside hierarchies of version 1', () => {
  makeCgroup(join(mount, 'unified'), 'cgroup.procs', 'cgroup.controllers');
  makeCgroup(join(mount, 'memory'), 'cgroup.procs');
  expect(rootOfCgroups(mount)).toBe(join(mount, 'unified'));
  makeCgroup(mount, 'cgroup.procs', 'cgroup.controllers');
  expect(rootOfCgroups(mount)).toBe(mount);
});

it('is nowhere where only version 1 is mounted', () => {
  makeCgroup(join(mount, 'memory'), 'cgroup.procs');
  expect(() => rootOfCgroups(mount)).toThrow(new Unsupported(`no cgroups of version 2 are mounted at ${mount}`));
});

it("is not a container's own cgroup", () => {
  makeCgroup(mount, 'cgroup.procs', 'cgroup.controllers', 'cgroup.events');
  expect(() => rootOfCgroups(mount)).toThrow(/is not the root of the machine's cgroups/);
});
