import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { freeCycle } from '#core/cycle.ts';
import { readProcessFiles, readProcessWalk } from '#pods/process_table.ts';
import { openNetnsObject } from '#sources/bpf/netns_object.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { OBJECTS } from './kernel.ts';

/**
 * Runs as process 1 of a node that is itself a container. Creates cgroups below its own, runs a process in each, and
 * prints the owner of each process, once from the kernel walk and once from /proc. The arguments are its own cgroup and
 * the paths of the cgroups to create.
 */
const [own = '', ...paths] = process.argv.slice(2);
const made: string[] = [];
function make(path: string): void {
  if (path === own) return;
  make(dirname(path));
  if (made.includes(path)) return;
  mkdirSync(path);
  made.push(path);
}

using lists = await openNetnsObject(new BpfSource(OBJECTS, '/sys'), 0);
if (lists.tasks === undefined) throw new Error(lists.reason);
const found: unknown[] = [];
for (const path of paths) {
  const folder = join(own, path);
  make(folder);
  const child = spawn('unshare', ['--net', 'sleep', '1000'], { stdio: 'ignore' });
  await once(child, 'spawn');
  const pid = child.pid ?? 0;
  writeFileSync(join(folder, 'cgroup.procs'), String(pid));
  const pass = await readProcessWalk(lists.tasks, undefined, freeCycle());
  const files = await readProcessFiles('/proc', freeCycle());
  found.push([pass.info(pid)?.container(), files.info(pid)?.container()]);
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}
for (const path of made.reverse()) rmdirSync(path);
process.stdout.write(JSON.stringify(found));
