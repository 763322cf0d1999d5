import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { nodeObject, podObject, serviceObject } from '../../test/support/api_objects.ts';
import { ApiServer } from '../../test/support/api_server.ts';
import { Containerd, missingForContainerd, type RealPod } from '../../test/support/containerd.ts';

const PROGRAM = fileURLToPath(new URL('./sockets.py', import.meta.url));
const NODE = 'node-1';
const NAMESPACE = 'bench';
const STARTED_AT_ONCE = 8;
const FIRST_VERSION = 1_000;
/** Interval between bookmarks, as in Kubernetes (k8s.io/apiserver, cacher: bookmarkFrequency). */
const BOOKMARK_MS = 60_000;
/** Number of Pods that are connected to many Services, and number of these Services. */
const HUBS = 3;
const HUB_EDGES = 500;

export type BedKind = 'namespaces' | 'pods';

/**
 * An environment for agents: many namespaces or Pods, each with twenty sockets and light traffic. Disposing of it
 * removes the namespaces or Pods.
 */
export interface Bed extends AsyncDisposable {
  readonly what: string;
  /** Arguments and environment variables of an agent in this environment. */
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

/** @param edges number of Services to which each Pod is connected, in addition to its twenty sockets */
export async function makeBed(kind: BedKind, count: number, edges: number): Promise<Bed> {
  return kind === 'namespaces' ? bareNamespaces(count) : realPods(count, edges);
}

async function bareNamespaces(count: number): Promise<Bed> {
  const resources = new AsyncDisposableStack();
  await talkIn([String(count)], resources);
  return bed(`${count} namespaces`, [], {}, resources);
}

/**
 * Starts Pods with containerd, runc and CNI, and an API server that has their names. The traffic runs in each Pod's
 * sandbox container, because Pods without a second container start in half the time.
 */
async function realPods(count: number, edges: number): Promise<Bed> {
  const missing = missingForContainerd();
  if (missing !== undefined) throw new Error(`no Pods without ${missing}: scripts/setup --test installs it`);
  await using resources = new AsyncDisposableStack();
  const server = resources.use(await ApiServer.start(FIRST_VERSION, BOOKMARK_MS));
  server.put('nodes', nodeObject(NODE, ['10.209.0.1']));
  // sockets.py opens connections to these addresses.
  for (let number = 1; edges > 0 && number <= HUB_EDGES; number++) {
    const address = `10.96.${Math.floor(number / 256)}.${number % 256}`;
    server.put('services', serviceObject(`service-${number}`, NAMESPACE, [address]));
  }
  const containerd = resources.use(await Containerd.start());
  const pods: RealPod[] = [];
  const startSome = async (first: number) => {
    for (let number = first; number < count; number += STARTED_AT_ONCE) {
      const pod = await containerd.run({ name: `pod-${number}`, namespace: NAMESPACE, isSandboxOnly: true });
      server.put('pods', podObject({ uid: pod.uid, name: pod.name, namespace: NAMESPACE, node: NODE, ips: [pod.ip] }));
      pods.push(pod);
    }
  };
  await Promise.all(Array.from({ length: STARTED_AT_ONCE }, (_, first) => startSome(first)));
  const hubs = edges > 0 ? ['--edges', edges, '--hubs', HUBS, HUB_EDGES].map(String) : [];
  await talkIn([...hubs, '--', 'pids', ...processesOf(pods.map(({ uid }) => uid))], resources);
  const connected = edges > 0 ? ` with ${edges} edges, ${HUBS} with ${HUB_EDGES}` : '';
  return bed(`${count} Pods${connected}`, ['--kubernetes', 'on'], server.environment(NODE), resources.move());
}

function bed(what: string, args: readonly string[], env: NodeJS.ProcessEnv, resources: AsyncDisposableStack): Bed {
  return { what, args, env, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

/** Returns the PID of one process of each Pod. @throws if a Pod has no process */
function processesOf(uids: readonly string[]): string[] {
  const byUid = new Map<string, string>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const [, uid] = /\/pod([0-9a-f-]{36})\//.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8')) ?? [];
      if (uid !== undefined) byUid.set(uid, pid);
    } catch (error) {
      // The process exited after /proc was listed.
      if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
  return uids.map((uid) => {
    const pid = byUid.get(uid);
    if (pid === undefined) throw new Error(`Pod ${uid} has no process`);
    return pid;
  });
}

async function talkIn(args: readonly string[], resources: AsyncDisposableStack): Promise<void> {
  const child = spawn('python3', [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  const exited = once(child, 'exit');
  resources.defer(async () => {
    // The child was started with `detached`, so it leads a process group that contains all of its children.
    if (child.exitCode === null) process.kill(-(child.pid ?? 0), 'SIGKILL');
    await exited;
  });
  const [outcome] = (await Promise.race([once(child.stdout, 'data'), exited])) as [unknown];
  if (!String(outcome).startsWith('ready')) {
    await resources.disposeAsync();
    throw new Error(`the sockets were not made: ${outcome}`);
  }
}
