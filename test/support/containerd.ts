import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Client, credentials, loadPackageDefinition, type ServiceClientConstructor } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { run, sh } from './command.ts';
import { uniqueName } from './hosts.ts';
import { eventually } from './oracle.ts';

const PROTO = fileURLToPath(new URL('./cri.proto', import.meta.url));
const BUSYBOX = '/bin/busybox';
const CNI_PLUGINS = '/usr/lib/cni';
const IMAGE = 'docker.io/library/busybox:latest';
const SANDBOX_IMAGE = 'registry.k8s.io/pause:3.6';
/** Maximum duration of a call on a busy machine. */
const CALL_DEADLINE_MS = 110_000;
const REMOVED_AT_ONCE = 4;

/** Returns what containerd needs but this machine lacks, or undefined if nothing is missing. */
export function missingForContainerd(): string | undefined {
  if (process.getuid?.() !== 0) return 'root';
  for (const program of ['containerd', 'runc', 'ctr']) {
    if (!['/usr/bin', '/usr/sbin'].some((folder) => existsSync(join(folder, program)))) return program;
  }
  return [BUSYBOX, join(CNI_PLUGINS, 'bridge')].find((path) => !existsSync(path));
}

export interface RealPodGiven {
  readonly name: string;
  readonly namespace: string;
  readonly hostNetwork?: boolean;
  /**
   * Whether to create only the sandbox, without a container. A test with many Pods runs its own processes in the
   * sandbox.
   */
  readonly isSandboxOnly?: boolean;
}

/** A Pod sandbox as the kubelet creates it, with one container unless `isSandboxOnly` is set. */
export interface RealPod {
  readonly uid: string;
  readonly name: string;
  readonly ip: string;
  /** Runs a command in the container. @throws if the Pod has no container */
  readonly exec: (...command: string[]) => Promise<string>;
  readonly remove: () => Promise<void>;
}

const FORWARDING = '/proc/sys/net/ipv4/ip_forward';

/**
 * A private containerd with runc and CNI. It uses only its own directory, bridge and cgroup. Disposing removes all of
 * them.
 */
export class Containerd implements AsyncDisposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'containerd-'));
  readonly #bridge = uniqueName('br');
  readonly #cgroup = uniqueName('test-');
  /**
   * Initial value of the machine's IP forwarding setting. The CNI bridge plugin enables IP forwarding, so the value is
   * restored at the end.
   */
  readonly #forwarding = readFileSync(FORWARDING, 'utf8');
  readonly #pods = new Set<RealPod>();
  #child: ChildProcess | undefined;
  #client: Client | undefined;
  #log = '';

  static async start(): Promise<Containerd> {
    const containerd = new Containerd();
    try {
      await containerd.#start();
      return containerd;
    } catch (error) {
      await containerd[Symbol.asyncDispose]();
      throw new Error(`containerd does not run: ${(error as Error).message}\n${containerd.#log.slice(-4_000)}`);
    }
  }

  get #socket(): string {
    return join(this.#folder, 'containerd.sock');
  }

  async run({ name, namespace, hostNetwork = false, isSandboxOnly = false }: RealPodGiven): Promise<RealPod> {
    const uid = randomUUID();
    const network = hostNetwork ? 'NODE' : 'POD';
    const namespaces = { network, pid: 'CONTAINER' };
    const config = {
      metadata: { name, namespace, uid },
      hostname: hostNetwork ? '' : name,
      log_directory: '',
      labels: {
        'io.kubernetes.pod.name': name,
        'io.kubernetes.pod.namespace': namespace,
        'io.kubernetes.pod.uid': uid,
      },
      linux: {
        cgroup_parent: `/${this.#cgroup}/kubepods/besteffort/pod${uid}`,
        security_context: { namespace_options: namespaces },
      },
    };
    const { pod_sandbox_id: sandbox } = await this.#call<{ pod_sandbox_id: string }>('RunPodSandbox', { config });
    const container = isSandboxOnly ? undefined : await this.#startContainer(sandbox, config, namespaces);
    const { status } = await this.#call<{ status: { network: { ip: string } | null } }>('PodSandboxStatus', {
      pod_sandbox_id: sandbox,
    });
    const pod: RealPod = {
      uid,
      name,
      ip: status.network?.ip ?? '',
      exec: async (...cmd) => {
        if (container === undefined) throw new Error(`${name} has no container`);
        const answer = await this.#call<{ stdout: Buffer; stderr: Buffer; exit_code: number }>('ExecSync', {
          container_id: container,
          cmd,
          timeout: 10,
        });
        return answer.stdout.toString();
      },
      remove: async () => {
        await this.#call('StopPodSandbox', { pod_sandbox_id: sandbox });
        await this.#call('RemovePodSandbox', { pod_sandbox_id: sandbox });
        this.#pods.delete(pod);
      },
    };
    this.#pods.add(pod);
    return pod;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const left = [...this.#pods];
    const removeSome = async () => {
      for (let pod = left.pop(); pod !== undefined; pod = left.pop()) await pod.remove();
    };
    const removals = await Promise.allSettled(Array.from({ length: REMOVED_AT_ONCE }, removeSome));
    this.#client?.close();
    const child = this.#child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await gone;
    }
    if (existsSync(`/sys/class/net/${this.#bridge}`)) sh(`ip link del ${this.#bridge}`);
    writeFileSync(FORWARDING, this.#forwarding);
    this.#removeCgroups();
    rmSync(this.#folder, { recursive: true, force: true });
    for (const removal of removals) if (removal.status === 'rejected') throw removal.reason;
  }

  async #startContainer(sandbox: string, sandboxConfig: object, namespaces: object): Promise<string> {
    const { container_id: container } = await this.#call<{ container_id: string }>('CreateContainer', {
      pod_sandbox_id: sandbox,
      config: {
        metadata: { name: 'main' },
        image: { image: IMAGE },
        command: ['/bin/sleep', '100000'],
        linux: { security_context: { namespace_options: namespaces } },
      },
      sandbox_config: sandboxConfig,
    });
    await this.#call('StartContainer', { container_id: container });
    return container;
  }

  async #start(): Promise<void> {
    this.#configure();
    const child = spawn('containerd', ['--config', join(this.#folder, 'config.toml')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    child.stderr.on('data', (data) => {
      this.#log = `${this.#log}${String(data)}`.slice(-20_000);
    });
    await eventually(() => {
      if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
      if (!existsSync(this.#socket)) throw new Error('there is no socket');
    }, 20_000);
    run(
      'ctr',
      '--address',
      this.#socket,
      '--namespace',
      'k8s.io',
      'images',
      'import',
      '--snapshotter',
      'native',
      this.#image(),
    );
    const definition = loadSync(PROTO, { keepCase: true, longs: Number, enums: String, defaults: true });
    const runtime = loadPackageDefinition(definition) as unknown as {
      runtime: { v1: { RuntimeService: ServiceClientConstructor } };
    };
    this.#client = new runtime.runtime.v1.RuntimeService(`unix://${this.#socket}`, credentials.createInsecure());
    await eventually(async () => {
      const { status } = await this.#call<{ status: { conditions: { status: boolean; message: string }[] } }>(
        'Status',
        {},
      );
      const bad = status.conditions.find((condition) => !condition.status);
      if (bad !== undefined) throw new Error(bad.message);
    }, 20_000);
  }

  #configure(): void {
    const folder = this.#folder;
    mkdirSync(join(folder, 'cni'));
    const network = {
      cniVersion: '0.4.0',
      name: 'test',
      plugins: [
        {
          type: 'bridge',
          bridge: this.#bridge,
          isGateway: true,
          ipam: {
            type: 'host-local',
            dataDir: join(folder, 'ipam'),
            ranges: [[{ subnet: '10.209.0.0/16' }]],
            routes: [{ dst: '0.0.0.0/0' }],
          },
        },
      ],
    };
    writeFileSync(join(folder, 'cni/10-test.conflist'), JSON.stringify(network));
    // Without CAP_SYS_RESOURCE, runc cannot lower the OOM score.
    writeFileSync(
      join(folder, 'config.toml'),
      `version = 2
root = "${folder}/root"
state = "${folder}/state"
disabled_plugins = ["io.containerd.internal.v1.restart", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "${this.#socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "${folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${SANDBOX_IMAGE}"
  restrict_oom_score_adj = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${CNI_PLUGINS}"
    conf_dir = "${folder}/cni"
`,
    );
  }

  /** Creates an archive in the format of `docker save`. Its only image contains only busybox. */
  #image(): string {
    const folder = join(this.#folder, 'image');
    const root = join(folder, 'root');
    mkdirSync(join(root, 'bin'), { recursive: true });
    run('cp', BUSYBOX, join(root, 'bin/busybox'));
    for (const name of ['sleep', 'tftp', 'timeout']) symlinkSync('busybox', join(root, 'bin', name));
    run('tar', '-C', root, '-cf', join(folder, 'layer.tar'), 'bin');
    const diff = createHash('sha256')
      .update(readFileSync(join(folder, 'layer.tar')))
      .digest('hex');
    const config = {
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      config: { Env: ['PATH=/bin'], Entrypoint: ['/bin/sleep', '100000'] },
      rootfs: { type: 'layers', diff_ids: [`sha256:${diff}`] },
    };
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
    const manifest = [{ Config: 'config.json', RepoTags: [IMAGE, SANDBOX_IMAGE], Layers: ['layer.tar'] }];
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest));
    const image = join(this.#folder, 'image.tar');
    run('tar', '-C', folder, '-cf', image, 'manifest.json', 'config.json', 'layer.tar');
    return image;
  }

  #call<Answer>(name: string, request: object): Promise<Answer> {
    const client = this.#client as unknown as Record<
      string,
      (request: object, options: object, done: (error: Error | null, answer: Answer) => void) => void
    >;
    return new Promise((resolve, reject) => {
      client[name]?.(request, { deadline: Date.now() + CALL_DEADLINE_MS }, (error, answer) => {
        if (error === null) resolve(answer);
        else reject(new Error(`${name}: ${error.message}`));
      });
    });
  }

  #removeCgroups(): void {
    for (const hierarchy of readdirSync('/sys/fs/cgroup')) removeTree(join('/sys/fs/cgroup', hierarchy, this.#cgroup));
    removeTree(join('/sys/fs/cgroup', this.#cgroup));
  }
}

/** Removes a cgroup and its descendants. The files in a cgroup cannot be deleted, so rmSync() does not work. */
function removeTree(path: string): void {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) removeTree(join(path, entry.name));
  rmdirSync(path);
}
