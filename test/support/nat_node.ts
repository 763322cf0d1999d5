import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FILE } from '#bpf/generated/translations.ts';
import { readText } from '#sources/procfs/read.ts';
import { run, runWith, sh } from './command.ts';
import { TestNetns, uniqueName } from './hosts.ts';
import { OBJECTS } from './kernel.ts';
import { eventually } from './oracle.ts';
import { FAMILIES, type Family } from './scene.ts';

export type Addresses = Readonly<Record<Family, string>>;

/** A namespace that is connected to the node. */
export interface NatPod {
  readonly netns: TestNetns;
  readonly address: Addresses;
}

/** A namespace that forwards the packets of others, and that an agent takes for the node's. */
export class NatNode implements AsyncDisposable {
  readonly netns: TestNetns;
  readonly address: Addresses = { ipv4: '10.9.40.1', ipv6: 'fd09:40::1' };
  readonly pods: readonly NatPod[];
  /** A /proc in which process 1 is in the node's namespace. */
  readonly proc: string;
  readonly #resources: AsyncDisposableStack;

  private constructor(netns: TestNetns, pods: readonly NatPod[], proc: string, resources: AsyncDisposableStack) {
    this.netns = netns;
    this.pods = pods;
    this.proc = proc;
    this.#resources = resources;
  }

  static async create(count: number): Promise<NatNode> {
    await using resources = new AsyncDisposableStack();
    const netns = resources.use(new TestNetns());
    netns.exec('sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1');
    netns.ip('link set lo up');
    const pods: NatPod[] = [];
    const proc = await startInit(netns, resources);
    const node = new NatNode(netns, pods, proc, resources.move());
    for (let nth = 0; nth < count; nth++) pods.push(node.#addPod(11 + nth));
    return node;
  }

  /** Adds rules to the node's table `nat`, which is created if it is missing. */
  nft(chain: 'prerouting' | 'output' | 'postrouting' | 'raw', ...rules: readonly string[]): void {
    const priority = { prerouting: -100, output: -100, postrouting: 100, raw: -300 }[chain];
    const hook = chain === 'raw' ? 'filter hook prerouting' : `nat hook ${chain}`;
    const script = [
      'add table inet nat',
      `add chain inet nat ${chain} { type ${hook} priority ${priority}; }`,
      ...rules.map((rule) => `add rule inet nat ${chain} ${rule}`),
    ];
    runWith(script.join('\n'), 'ip', 'netns', 'exec', this.netns.name, 'nft', '-f', '-');
  }

  #addPod(host: number): NatPod {
    const netns = this.#resources.use(new TestNetns());
    const [port, device] = [uniqueName('vn'), 'eth0'];
    const address = { ipv4: `10.9.40.${host}`, ipv6: `fd09:40::${host}` };
    sh(`ip link add ${port} netns ${this.netns.name} type veth peer name ${device} netns ${netns.name}`);
    const end = (name: string, addresses: Addresses) => [
      `addr add ${addresses.ipv4}/32 dev ${name}`,
      `addr add ${addresses.ipv6}/128 dev ${name} nodad`,
      `link set ${name} up`,
    ];
    netns.batch('link set lo up', ...end(device, address));
    this.netns.batch(
      ...end(port, this.address),
      ...FAMILIES.map((family) => `route add ${address[family]} dev ${port}`),
    );
    const routes = FAMILIES.flatMap((family) => [
      `route add ${this.address[family]} dev ${device}`,
      `route add default via ${this.address[family]} dev ${device}`,
    ]);
    netns.batch(...routes);
    return { netns, address };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

/** Starts a process 1 in a namespace, and returns its /proc. */
async function startInit({ name }: TestNetns, resources: AsyncDisposableStack): Promise<string> {
  const child = spawn('ip', [
    ...['netns', 'exec', name, 'unshare', '--pid', '--fork', '--kill-child', '--mount-proc'],
    ...['sleep', 'infinity'],
  ]);
  const gone = new Promise((resolve) => child.once('exit', resolve));
  resources.defer(async () => {
    child.kill('SIGKILL');
    await gone;
  });
  return eventually(() => {
    // `ip` and `unshare` replace each other, and process 1 is the only child.
    const init = run('pgrep', '-P', String(child.pid)).trim();
    const proc = `/proc/${init}/root/proc`;
    if (!existsSync(join(proc, '1/ns/net')) || existsSync(join(proc, String(child.pid))))
      throw new Error('no /proc yet');
    return proc;
  });
}

/** Returns how many programs of the type of tc this process has loaded (kernel: include/uapi/linux/bpf.h). */
export function packetPrograms(): number {
  return readdirSync('/proc/self/fdinfo').filter((fd) =>
    /^prog_type:\t3$/m.test(readText(`/proc/self/fdinfo/${fd}`) ?? ''),
  ).length;
}

/** Returns a directory with all BPF objects except the one that looks up connections. */
export function objectsWithoutLookup(resources: AsyncDisposableStack): string {
  const folder = mkdtempSync(join(tmpdir(), 'objects-'));
  resources.defer(() => rmSync(folder, { recursive: true }));
  for (const name of readdirSync(OBJECTS)) if (name !== FILE) symlinkSync(join(OBJECTS, name), join(folder, name));
  return folder;
}
