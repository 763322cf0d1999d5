import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AgentProcess } from '../../test/support/agent_process.ts';
import { CGROUP_V1, TestPod } from '../../test/support/cgroups.ts';
import { sh } from '../../test/support/command.ts';
import { NamespaceFlood } from '../../test/support/namespace_flood.ts';

const HTTP_FLOOD = fileURLToPath(new URL('./http_flood.py', import.meta.url));
const FLOOD = 4_500;
const STORM = 500;
export const ATTACK_MS = 20_000;
const SCRIBBLE_EVERY_MS = 250;

export interface Scene {
  readonly agent: AgentProcess;
  readonly folder: string;
  readonly config: string;
  /** Resources that are released when the attack ends. */
  readonly resources: AsyncDisposableStack;
}

/** Packets that an attack causes to be dropped: the namespaces by inode number, and the time of the last drop. */
interface Losses {
  readonly inums: ReadonlySet<number>;
  /** Resolves when the last packet has been dropped. */
  readonly ended: Promise<void>;
}

export interface Attack {
  readonly name: string;
  /** Starts the attack. Returns the packet losses that it causes, or undefined if it causes none. */
  readonly begin: (scene: Scene) => Promise<Losses | undefined>;
}

const ROUTES = ['/metrics', '/', '/api/v1/entities', '/api/v1/trouble', '/api/v1/events?follow=false', '/nothing'];

async function flood(scene: Scene, count: number, isNested: boolean, rounds: number): Promise<Losses> {
  const pod = scene.resources.use(new TestPod(CGROUP_V1));
  const namespaces = scene.resources.use(await NamespaceFlood.make(count, pod.container, isNested));
  const endMs = performance.now() + ATTACK_MS;
  const ended = (async () => {
    for (let round = 0; round < rounds && performance.now() < endMs; round++) await namespaces.lose();
  })();
  scene.resources.defer(() => ended);
  return { inums: namespaces.inums, ended };
}

async function ended(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.stdin?.end();
  await exited;
}

export const ATTACKS: readonly Attack[] = [
  {
    name: 'unread answers',
    begin: async ({ agent, resources }) => {
      const { hostname, port } = new URL(agent.url ?? '');
      const child = spawn('python3', [HTTP_FLOOD, hostname, port, '1000', '1000', ...ROUTES], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      resources.defer(() => ended(child));
      await once(child.stdout, 'data');
      return undefined;
    },
  },
  { name: `${FLOOD} namespaces of one Pod`, begin: (scene) => flood(scene, FLOOD, false, 2) },
  { name: `${FLOOD} namespaces of an unprivileged user`, begin: (scene) => flood(scene, FLOOD, true, 2) },
  { name: 'endless drops in 500 namespaces', begin: (scene) => flood(scene, STORM, false, 10_000) },
  {
    name: 'an overwritten spool',
    begin: async ({ folder, resources }) => {
      const spool = join(folder, 'spool');
      const scribble = setInterval(() => {
        for (const name of readdirSync(spool)) {
          const path = join(spool, name);
          if (!name.endsWith('.jsonl')) continue;
          const bytes = readFileSync(path);
          for (let at = 0; at < bytes.length; at += 97) bytes[at] = at % 256;
          writeFileSync(path, bytes);
        }
      }, SCRIBBLE_EVERY_MS);
      resources.defer(() => clearInterval(scribble));
      return undefined;
    },
  },
  {
    name: 'a configuration that is a pipe',
    begin: async ({ config }) => {
      rmSync(config);
      sh(`mkfifo ${config}`);
      return undefined;
    },
  },
];
