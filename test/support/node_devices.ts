import { run, sh } from './command.ts';
import { type TestNetns, uniqueName } from './hosts.ts';

export interface NodeDevice {
  readonly what: string;
  readonly name: string;
  /** False if the device is the peer of a Pod's device. */
  readonly isNodes: boolean;
}

/** Adds a device. Returns false if this kernel does not support its kind. */
function add(line: string): boolean {
  try {
    sh(`ip link add ${line}`);
    return true;
  } catch (error) {
    // The kernel or iproute2 reports EOPNOTSUPP with one of these messages.
    if (/Unknown device type|Operation not supported/.test((error as Error).message)) return false;
    throw error;
  }
}

/**
 * Creates a device of each kind that this kernel supports in the caller's namespace, which is the node's namespace.
 * Disposing the stack removes the devices.
 * @param pod namespace of the peers of paired devices
 */
export function makeNodeDevices(resources: DisposableStack, pod: TestNetns): NodeDevice[] {
  const made: NodeDevice[] = [];
  const make = (what: string, isNodes: boolean, line: (name: string) => string) => {
    const name = uniqueName('d');
    if (!add(line(name))) return undefined;
    resources.defer(() => {
      // The device may have been removed already: removing one end of a pair also removes the other end, and removing a
      // device also removes the devices stacked on it.
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

/**
 * Creates netkit pairs. iproute2 may not know netkit's options, so both ends are created here with names that the
 * kernel chooses.
 */
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

/** Creates a bridge. @param name bytes of the name in the notation of printf(1) */
export function makeBridge(resources: DisposableStack, name: string): void {
  run('sh', '-c', `ip link add "$(printf '${name}')" type bridge`);
  resources.defer(() => run('sh', '-c', `ip link del "$(printf '${name}')"`));
}
