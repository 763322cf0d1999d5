import { run, sh } from './command.ts';
import { type TestNetns, uniqueName } from './hosts.ts';

export interface NodeDevice {
  readonly what: string;
  readonly name: string;
  /** Whether it is the node's own, and not the peer of a Pod's device. */
  readonly isNodes: boolean;
}

/** Whether this kernel has the kind. */
function add(line: string): boolean {
  try {
    sh(`ip link add ${line}`);
    return true;
  } catch (error) {
    // EOPNOTSUPP, in the words of the kernel or of iproute2.
    if (/Unknown device type|Operation not supported/.test((error as Error).message)) return false;
    throw error;
  }
}

/**
 * Makes a device of each kind that this kernel has in the namespace of the caller, the node's, and removes them with the stack.
 * @param pod namespace of the peers
 */
export function makeNodeDevices(resources: DisposableStack, pod: TestNetns): NodeDevice[] {
  const made: NodeDevice[] = [];
  const make = (what: string, isNodes: boolean, line: (name: string) => string) => {
    const name = uniqueName('d');
    if (!add(line(name))) return undefined;
    resources.defer(() => {
      // A pair goes with either end, and a stacked device with the one below.
      if (sh('ip -o link').includes(` ${name}`)) sh(`ip link del ${name}`);
    });
    made.push({ what, name, isNodes });
    return name;
  };
  const pairs = (kind: string) => {
    make(`${kind} of a Pod`, false, (name) => `${name} type ${kind} peer name ${uniqueName('p')} netns ${pod.name}`);
    const near = uniqueName('n');
    const end = make(`${kind} with both ends here`, true, (name) => `${name} type ${kind} peer name ${near}`);
    if (end !== undefined) made.push({ what: `its ${kind} peer`, name: near, isNodes: true });
    return end;
  };
  const lower = pairs('veth');
  makeNetkit(resources, pod, made);
  for (const kind of ['bridge', 'dummy', 'ifb']) make(kind, true, (name) => `${name} type ${kind}`);
  make('vlan', true, (name) => `${name} link ${lower} type vlan id 7`);
  make('macvlan', true, (name) => `${name} link ${lower} type macvlan`);
  make('vxlan', true, (name) => `${name} type vxlan id 77 dstport 4790 local 127.0.0.1`);
  const tunnel = uniqueName('t');
  if (add(`${tunnel} netns ${pod.name} type vxlan id 78 dstport 4791 local 127.0.0.1`)) {
    pod.ip(`link set ${tunnel} netns ${process.pid}`);
    resources.defer(() => sh(`ip link del ${tunnel}`));
    made.push({ what: 'vxlan made in a Pod', name: tunnel, isNodes: true });
  }
  return made;
}

/** iproute2 may not know the kind, so the kernel makes both ends here and names them itself. */
function makeNetkit(resources: DisposableStack, pod: TestNetns, made: NodeDevice[]): void {
  for (const isNodes of [false, true]) {
    const name = uniqueName('k');
    if (!add(`${name} type netkit`)) return;
    const peer = new RegExp(`: ${name}@([^:]+):`).exec(sh('ip -o link'))?.[1] ?? '';
    if (isNodes) made.push({ what: 'its netkit peer', name: peer, isNodes });
    else sh(`ip link set ${peer} netns ${pod.name}`);
    resources.defer(() => sh(`ip link del ${name}`));
    made.push({ what: isNodes ? 'netkit with both ends here' : 'netkit of a Pod', name, isNodes });
  }
}

/** Makes a bridge whose name is these bytes, in the notation of printf(1). */
export function makeBridge(resources: DisposableStack, name: string): void {
  run('sh', '-c', `ip link add "$(printf '${name}')" type bridge`);
  resources.defer(() => run('sh', '-c', `ip link del "$(printf '${name}')"`));
}
