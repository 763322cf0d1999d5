import { type ChildProcess, execFile, type StdioOptions, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Cgroup } from './cgroup.ts';

/**
 * Process 1 of a machine. When the process that started it exits, its standard input ends, and so it exits as well. The
 * kernel then kills all processes of the PID namespace, and removes the mounts, network namespaces, devices and
 * nftables rules of the machine.
 */
const KEEPER = `
set -e
echo "$2" > /proc/sys/kernel/hostname
mount --make-rprivate /
mount -t tmpfs -o mode=755 none /run/netns
mount -t sysfs none "$1"
ip link set lo up
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 \
  net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0 net.ipv4.fib_multipath_hash_policy=1 net.ipv4.tcp_orphan_retries=1 \
  net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
echo ready
exec cat > /dev/null
`;

/**
 * Environment of all programs of a machine. It contains no variables of the developer's shell, such as proxy settings.
 */
const ENVIRONMENT = {
  PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`,
  HOME: '/nonexistent',
  LC_ALL: 'C',
  TZ: 'UTC',
};

export interface Launch {
  readonly command: readonly string[];
  readonly cgroup: Cgroup;
  /** Name of a network namespace in the machine; undefined for the machine's own. */
  readonly netns?: string;
  /** File that the program sees as /etc/resolv.conf. */
  readonly resolver?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * A simulated machine with its own network, PID, mount, IPC and UTS namespaces. A node is a machine with a network
 * namespace for each of its Pods, so an agent in it sees only the processes and network namespaces of that node.
 */
export class Machine implements AsyncDisposable {
  readonly name: string;
  /** Directory of the machine's own sysfs, which shows the devices of the machine. */
  readonly sys: string;
  readonly #keeper: ChildProcess;
  readonly #gone: Promise<unknown>;

  private constructor(name: string, sys: string, keeper: ChildProcess) {
    this.name = name;
    this.sys = sys;
    this.#keeper = keeper;
    this.#gone = new Promise((resolve) => keeper.once('exit', resolve));
  }

  /** @param folder existing directory for the machine's files */
  static async start(name: string, folder: string, cgroup: Cgroup): Promise<Machine> {
    const sys = join(folder, 'sys');
    mkdirSync(sys, { recursive: true });
    mkdirSync('/run/netns', { recursive: true });
    const isolated = ['--net', '--mount', '--pid', '--ipc', '--uts', '--fork', '--kill-child', '--mount-proc'];
    const command = ['unshare', ...isolated, 'sh', '-c', KEEPER, 'sh', sys, name];
    const keeper = spawn('sh', inCgroup(cgroup, command), { env: ENVIRONMENT, stdio: ['pipe', 'pipe', 'pipe'] });
    const machine = new Machine(name, sys, keeper);
    let complaint = '';
    keeper.stderr.on('data', (data) => {
      complaint += String(data);
    });
    const ready = new Promise((resolve) => keeper.stdout.once('data', () => resolve('ready')));
    if ((await Promise.race([ready, machine.#gone])) !== 'ready')
      throw new Error(`the machine ${name} does not start: ${complaint}`);
    return machine;
  }

  get pid(): number {
    return this.#keeper.pid ?? 0;
  }

  /** Path of the machine's own network namespace, or of a named network namespace in the machine. */
  netnsPath(netns?: string): string {
    return netns === undefined ? `/proc/${this.pid}/ns/net` : `/proc/${this.pid}/root/run/netns/${netns}`;
  }

  /** Runs a shell script in the machine. @throws if it fails; the error contains its stderr */
  async run(script: string): Promise<string> {
    const [command = '', ...args] = [...this.#enter(undefined), 'sh', '-ec', script];
    return new Promise((resolve, reject) => {
      execFile(command, args, { env: ENVIRONMENT }, (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`${this.name}: ${stderr}${stderr === '' ? error.message : ''}`));
      });
    });
  }

  /** Starts a program in a cgroup and a network namespace. As in a container, its process joins both before exec(). */
  launch({ command, cgroup, netns, resolver, env = {} }: Launch, stdio: StdioOptions = 'pipe'): ChildProcess {
    const mounts =
      resolver === undefined
        ? []
        : ['unshare', '--mount', 'sh', '-c', 'mount --bind "$0" /etc/resolv.conf && exec "$@"', resolver];
    const all = [...this.#enter(netns), ...mounts, ...command];
    return spawn('sh', inCgroup(cgroup, all), { env: { ...ENVIRONMENT, ...env }, stdio });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#keeper.kill('SIGKILL');
    await this.#gone;
  }

  /**
   * Returns the nsenter command for a namespace. It uses `pid_for_children`, because `unshare` itself stays in the
   * outer PID namespace, and process 1 is its child.
   */
  #enter(netns: string | undefined): string[] {
    const kinds = ['mount=mnt', 'ipc=ipc', 'uts=uts', 'pid=pid_for_children'];
    const rest = kinds.map((kind) => `--${kind.replace('=', `=/proc/${this.pid}/ns/`)}`);
    return ['nsenter', `--net=${this.netnsPath(netns)}`, ...rest];
  }
}

/** Returns the arguments with which `sh` runs a command in a cgroup. */
function inCgroup({ path }: Cgroup, command: readonly string[]): string[] {
  return ['-c', 'echo 0 > "$0/cgroup.procs" && exec "$@"', path, ...command];
}

/** Calls `hear` for each line of a program's output, including stderr. */
export function onLines(child: ChildProcess, hear: (line: string) => void): void {
  for (const input of [child.stdout, child.stderr]) if (input !== null) createInterface({ input }).on('line', hear);
}
