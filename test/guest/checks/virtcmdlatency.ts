import { deepEqual, equal, ok } from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import type { BpfObject } from 'bpf-napi';
import { histogram } from '#bpf/generated/common.ts';
import { FILE } from '#bpf/generated/virtcmdlatency.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { sh } from '../../support/command.ts';
import { OBJECTS, only, TestKernel } from '../../support/kernel.ts';
import { histogramOf } from '../../support/latency.ts';
import { eventually } from '../../support/oracle.ts';
import { defineChecks } from '../check.ts';

interface Context {
  readonly device: string;
}

const DRIVER = '/sys/bus/virtio/drivers/virtio_net';
const VLANS = [11, 12, 13];

/** Runs `ip` repeatedly. Each run causes one device command, which is sent in the context of the calling process. */
function provoke(device: string): void {
  for (const id of VLANS) sh(`ip link add link ${device} name vl${id} type vlan id ${id}`);
  for (const id of VLANS) sh(`ip link del vl${id}`);
  for (const address of ['02:00:00:00:00:01', '02:00:00:00:00:02']) sh(`ip link set ${device} address ${address}`);
}

const PROVOKED = { 'vlan add': VLANS.length, 'vlan del': VLANS.length, 'mac addr_set': 2 };
const COMMANDS = Object.values(PROVOKED).reduce((sum, count) => sum + count, 0);

/** Returns the programs that attach to this kernel's function for sending commands. */
function programs(...suffixes: readonly string[]): string[] {
  const hasReply = sh('cat /proc/kallsyms').includes(' virtnet_send_command_reply\t');
  return suffixes.map((suffix) => `${hasReply ? 'command_reply' : 'command'}_${suffix}`);
}

function counted(object: BpfObject): number {
  const { view, valueAt } = object.map('virtio_histograms').dump();
  return Array.from({ length: histogram.countsCount }, (_, index) =>
    Number(histogram.counts(view, valueAt(0), index)),
  ).reduce((sum, count) => sum + count, 0);
}

async function compare({ device }: Context, names: readonly string[]): Promise<void> {
  using object = await new BpfSource(OBJECTS, '/sys').load({ file: FILE, programs: names });
  for (const name of names) await object.attach(name);
  const before = counted(object);
  provoke(device);
  equal(counted(object) - before, COMMANDS);
  equal(object.map('virtio_commands').dump().count, 0, 'a command was left');
}

export const virtcmdlatency = defineChecks(
  'virtcmdlatency',
  async (): Promise<Context> => {
    sh('modprobe -a virtio_net 8021q');
    const device = await eventually(() => {
      const [bus] = readdirSync(DRIVER).filter((name) => existsSync(`${DRIVER}/${name}/net`));
      const [name] = readdirSync(`${DRIVER}/${bus}/net`);
      if (name === undefined) throw new Error('no device of virtio_net');
      return name;
    });
    // The device stays down. If it were up, each change would cause additional filter commands.
    return { device };
  },
  {
    'fentry and fexit see each command, where the module shows its types': async (context) => {
      if (existsSync('/sys/kernel/btf/virtio_net')) await compare(context, programs('exit', 'entry'));
      else await assertNoTypes();
    },
    'kprobes do, too': (context) => compare(context, programs('return', 'probe')),

    'reports each one over the threshold, with its class, command and process': async ({ device }) => {
      await using agent = await TestKernel.open(only({ virtcmdlatency: { enabled: true, threshold: '1us' } }));
      const status = agent.kernel.probes().find(({ name }) => name === 'virtcmdlatency');
      equal(status?.state, 'running', status?.reason);
      const hasTypes = existsSync('/sys/kernel/btf/virtio_net');
      ok(
        status?.programs.every(({ hook }) => hook.startsWith(hasTypes ? 'f' : 'k')),
        JSON.stringify(status?.programs),
      );
      provoke(device);
      await eventually(() => equal(agent.events.length, COMMANDS));
      for (const event of agent.events) {
        deepEqual(
          { type: event.type, process: event['process'], device: event['device'] },
          { type: 'virtio_command_slow', process: 'ip', device: hasTypes ? device : undefined },
        );
        ok(Number(event['delaySeconds']) > 1e-6);
      }
      for (const [what, times] of Object.entries(PROVOKED)) equal(count(agent, what), times, what);
      deepEqual(await shown(agent), { count: COMMANDS, sum: summed(agent) });

      sh(`ip link set ${device} up`);
      sh(`ip link set ${device} promisc on`);
      // Each change sets the filters with three commands. Since 6.9, a kernel thread sends them later, so the check is
      // retried.
      await eventually(async () => {
        const rx = ['rx promisc', 'rx allmulti', 'mac table_set'].map((what) => count(agent, what));
        ok(
          rx.every((one) => one > 0 && one === rx[0]),
          rx.join(),
        );
        deepEqual(await shown(agent), { count: agent.events.length, sum: summed(agent) });
      });
    },
  },
);

function count({ events }: TestKernel, what: string): number {
  return events.filter((event) => `${event['class']} ${event['command']}` === what).length;
}

/** Returns the sum of the delays of all events, in microseconds. */
function summed({ events }: TestKernel): number {
  return Math.round(events.reduce((total, event) => total + Number(event['delaySeconds']), 0) * 1e6);
}

async function shown(agent: TestKernel): Promise<{ count: number; sum: number }> {
  const { count, sum } = histogramOf(await agent.page(), 'netsonde_virtio_command_seconds', {});
  return { count, sum: Math.round(sum * 1e6) };
}

/**
 * Checks that programs that need types of kernel modules cannot be loaded, as is the case before 5.11. On these
 * kernels, only kprobes work.
 */
async function assertNoTypes(): Promise<void> {
  const [, name = ''] = programs('exit', 'entry');
  try {
    (await new BpfSource(OBJECTS, '/sys').load({ file: FILE, programs: [name] })).close();
  } catch {
    return;
  }
  throw new Error(`${name} was loaded`);
}
