import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import type { ProbeStatus } from '#api/probes.ts';
import type { MetricDescriptor } from '#probe/metric.ts';
import { PROBES } from '#probes/index.ts';
import { SECCOMP_PROFILE } from '../../../scripts/seccomp_profile.ts';
import { AgentProcess } from '../agent_process.ts';
import { CGROUP_V2, TestPod } from '../cgroups.ts';
import { runWith } from '../command.ts';
import type { Exposition } from '../exposition.ts';
import { TestNetns } from '../hosts.ts';
import { eventually } from '../oracle.ts';
import { compileProfile, underFilter } from '../seccomp.ts';
import { type SecurityContext, setpriv, shipped } from '../security_context.ts';

const PROJECT = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '');

export const CONTEXTS = {
  default: shipped([]).container.securityContext,
  packets: shipped(['packets']).container.securityContext,
  processes: shipped(['processes']).container.securityContext,
  all: shipped(['packets', 'processes']).container.securityContext,
} as const;
export type SetName = keyof typeof CONTEXTS;

/** User ID of the Pod's processes. */
const POD_USER = 64_321;

/** Runs a command with every mount read-only, and with the project at a path that any user may read. */
const READ_ONLY = `set -e
project=$1 place=$2
shift 2
mount --bind "$project" "$place"
awk '$5 !~ "^/(proc|sys|dev|run)(/|$)" { print $5 }' /proc/self/mountinfo | sort -u | while read -r mount; do
  # Other tests may unmount and remove their directories in between.
  mount -o remount,bind,ro "$mount" || ! mountpoint -q "$mount"
done
for word; do
  shift
  case $word in "$project"/*) word=$place\${word#"$project"} ;; esac
  set -- "$@" "$word"
done
exec "$@"`;

export interface Seen {
  readonly probes: ReadonlyMap<string, ProbeStatus>;
  /** Names of metrics with series of the Pod, by probe. */
  readonly metrics: ReadonlyMap<string, readonly string[]>;
}

/** Probes whose series appear only after an event. */
export const OCCASIONAL = new Set(PROBES.filter(({ kind }) => kind === 'ebpf').map(({ name }) => name));

function metricsOf(page: Exposition, pod: string): Map<string, readonly string[]> {
  const shown = new Set(page.samples.filter(({ labels }) => labels['pod'] === pod).map(({ name }) => name));
  return new Map(
    PROBES.filter(({ name }) => !OCCASIONAL.has(name)).map(({ name, metrics }) => [
      name,
      Object.values<MetricDescriptor>(metrics)
        .map((metric) => metric.name)
        .filter((metric) => shown.has(metric)),
    ]),
  );
}

/** A Pod's program with a listening socket, a qdisc and a tracked connection. It loses five datagrams per second. */
const PROGRAM = `
import ctypes, os, socket, time
listener = socket.create_server(("127.0.0.1", 8099))
client = socket.create_connection(("127.0.0.1", 8099))
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
os.setgroups([])
os.setresgid(${POD_USER}, ${POD_USER}, ${POD_USER})
os.setresuid(${POD_USER}, ${POD_USER}, ${POD_USER})
# PR_SET_DUMPABLE: after a change of the user without execve(), the process's files in /proc would belong to root.
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
print("ready", flush=True)
while True:
    sender.sendto(b"lost", ("127.0.0.2", 9))
    time.sleep(0.2)
`;

/** A Pod, and what is needed to run agents as a container runtime does. */
export class RightsScene implements AsyncDisposable {
  readonly #directory = mkdtempSync(join(tmpdir(), 'capabilities-'));
  readonly #place = join(this.#directory, 'project');
  /** The shipped seccomp profile. */
  readonly #filter = join(this.#directory, 'filter');
  readonly #resources = new AsyncDisposableStack();
  readonly #pod = this.#resources.use(new TestPod(CGROUP_V2));

  static async start(): Promise<RightsScene> {
    const scene = new RightsScene();
    chmodSync(scene.#directory, 0o755);
    mkdirSync(scene.#place);
    writeFileSync(scene.#filter, compileProfile(SECCOMP_PROFILE));
    await scene.#startPod();
    return scene;
  }

  /** Returns a path for a file of a test. */
  pathOf(name: string): string {
    return join(this.#directory, name);
  }

  /** Writes a configuration that enables all probes, except those left out. Returns its path. */
  configure(leftOut: ReadonlySet<string>): string {
    const path = this.pathOf(`without-${[...leftOut].join('-')}.yaml`);
    const probes = PROBES.map(({ name }) => {
      const options = name === 'conntrack' ? '{ states: true }' : 'true';
      return `  ${name}: ${leftOut.has(name) ? 'false' : options}`;
    });
    writeFileSync(path, ['detail: full', 'sinks: {}', 'probes:', ...probes].join('\n'));
    return path;
  }

  /** Returns a command prefix that applies a securityContext as a container runtime does. */
  confine(context: SecurityContext, user: number, capabilities: readonly string[]): string[] {
    const readOnly = ['unshare', '--mount', 'sh', '-c', READ_ONLY, 'sh', PROJECT, this.#place];
    return [
      ...(context.readOnlyRootFilesystem ? readOnly : []),
      ...setpriv(context, user, capabilities),
      ...underFilter(this.#filter),
    ];
  }

  async #look(agent: AgentProcess): Promise<Seen> {
    const page = await agent.page();
    const { probes } = await agent.json<{ probes: ProbeStatus[] }>('/api/v1/probes');
    const byName = new Map(probes.map((probe) => [probe.name, probe]));
    if (byName.get('packetloss')?.state === 'running') {
      const lost = page.samples.filter(
        ({ name, labels }) => name === 'netsonde_packet_drops_total' && labels['pod'] === this.#pod.uid,
      );
      expect(lost.map(({ labels }) => labels['reason'])).toContain('NO_SOCKET');
    }
    return { probes: byName, metrics: metricsOf(page, this.#pod.uid) };
  }

  /** Runs the agent without some probes, with all but one capability of a set, until `check` passes. */
  async see(
    leftOut: ReadonlySet<string>,
    set: SetName,
    without: string,
    user: number,
    check: (seen: Seen) => void,
  ): Promise<Seen> {
    const context = CONTEXTS[set];
    const capabilities = context.capabilities.add.filter((name) => name !== without);
    await using agent = await AgentProcess.serve(
      ['--config', this.configure(leftOut)],
      this.confine(context, user, capabilities),
    );
    const status = readFileSync(`/proc/${agent.pid}/status`, 'utf8');
    expect(status).toMatch(new RegExp(`^Uid:\\t${user}\\t${user}\\t`, 'm'));
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    expect(status).toMatch(/^Seccomp:\t2$/m);
    expect(readFileSync(`/proc/${agent.pid}/mountinfo`, 'utf8')).toMatch(/^\d+ \d+ \S+ \S+ \/ ro[, ]/m);
    const ended = agent.exited.then(({ code, signal }) => {
      throw new Error(`the agent ended with ${code ?? signal}:\n${agent.stderr}`);
    });
    const seen = eventually(async () => expect((await agent.get('/readyz')).status).toBe(200)).then(() =>
      eventually(async () => {
        const now = await this.#look(agent);
        check(now);
        return now;
      }),
    );
    return await Promise.race([seen, ended]);
  }

  async #startPod(): Promise<void> {
    const netns = this.#resources.use(new TestNetns());
    netns.batch('link set lo up', 'link add name va type veth peer name vb', 'link set va up', 'link set vb up');
    netns.tc('qdisc add dev va root pfifo limit 100');
    const table = `table inet track {
      chain in {
        type filter hook input priority 0
        ct state established accept
      }
    }`;
    runWith(table, 'ip', 'netns', 'exec', netns.name, 'nft', '-f', '-');
    const child = spawn('ip', ['netns', 'exec', netns.name, 'python3', '-c', PROGRAM], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const gone = new Promise((resolve) => child.once('exit', resolve));
    this.#resources.defer(async () => {
      child.kill('SIGKILL');
      await gone;
    });
    await Promise.race([
      new Promise((resolve) => child.stdout.once('data', resolve)),
      gone.then(() => Promise.reject(new Error('the Pod ended'))),
    ]);
    this.#pod.add(child.pid ?? 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
