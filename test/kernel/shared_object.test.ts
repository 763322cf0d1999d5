import type { BpfObject } from 'bpf-napi';
import { beforeEach, expect, it } from 'vitest';
import { FILE } from '#bpf/generated/packetloss.ts';
import type { asNetnsId } from '#core/netns.ts';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { Shared } from '#core/shared.ts';
import { defineProbe } from '#probe/contract.ts';
import { ANY_REASON, COUNTED, Counts } from '#probe/counts.ts';
import { defineMetrics, NO_LABELS } from '#probe/metric.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { TestNetns } from '../support/hosts.ts';
import { OBJECTS, probesOf, TestKernel } from '../support/kernel.ts';
import { NO_OWNERS } from '../support/owners.ts';

/** The variant of the program on tp_btf/kfree_skb that runs on all kernels. */
const PROGRAM = 'packet_drop';

let loads: BpfObject[];
let drops: Shared<BpfObject>;

beforeEach(() => {
  loads = [];
  const bpf = new BpfSource(OBJECTS, DEFAULT_PATHS.sys);
  drops = new Shared(async () => {
    const object = await bpf.load({ file: FILE, programs: [PROGRAM], without: ['events'] });
    await object.attach(PROGRAM);
    loads.push(object);
    return object;
  });
});

/** Returns a probe that shows the drops of all namespaces, from an object that it shares with other probes. */
function probeOf(name: string) {
  return defineProbe({
    name,
    kind: 'ebpf',
    cost: 'low',
    enabledByDefault: true,
    summary: 'Drops, for a test.',
    guide: { question: '?', when: '.', query: '', limits: ['.'] },
    metrics: defineMetrics({
      drops: {
        name: `netsonde_${name}_total`,
        type: 'counter',
        help: 'Drops, for a test.',
        source: 'BPF',
        scope: 'pod',
        detail: 'core',
        labels: {},
      },
    }),
    events: {},
    options: {},
    requires: { capabilities: [], kernel: 'BTF.' },
    measured: {},
    open: async (scope) => {
      const { value: object } = scope.own(await drops.acquire());
      const counts = new Counts(
        object,
        (rest) => ({ reason: ANY_REASON, side: rest }),
        NO_OWNERS,
        scope.retained(COUNTED),
      );
      return {
        health: () => ({ reader: PROGRAM, degraded: [] }),
        collect: async (emit) => {
          const sums = new Map<ReturnType<typeof asNetnsId>, number>();
          for (const { netns, count } of counts.rows()) sums.set(netns, (sums.get(netns) ?? 0) + Number(count));
          for (const [netns, sum] of sums) emit('drops', netns, sum, NO_LABELS);
        },
      };
    },
  });
}

function lose(netns: TestNetns, datagrams: number): void {
  netns.python(`
import socket
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(${datagrams}):
    sender.sendto(b"lost", ("127.0.0.1", 9))
`);
}

it('switching one of two probes on an object neither reloads it nor loses its counts', async () => {
  using netns = new TestNetns();
  netns.ip('link set lo up');
  const probes = [probeOf('first'), probeOf('second')];
  await using kernel = await TestKernel.open('{}', { probes });
  const ask = (yaml: string) => kernel.kernel.configure(probesOf(yaml, probes));
  const shown = async (name: string) => {
    const page = await kernel.page();
    const sample = page.samples.find(
      ({ name: metric, labels }) => metric === `netsonde_${name}_total` && labels['pod'] === netns.name,
    );
    return sample === undefined ? undefined : Number(sample.value);
  };
  expect([drops.users, loads.length]).toEqual([2, 1]);
  const { id } = (loads[0] as BpfObject).programInfo(PROGRAM);
  lose(netns, 3);
  expect([await shown('first'), await shown('second')]).toEqual([3, 3]);

  for (let toggle = 1; toggle <= 10; toggle++) {
    await ask('probes: { first: false }');
    lose(netns, 1);
    expect([drops.users, await shown('first'), await shown('second')]).toEqual([1, undefined, 3 + 2 * toggle - 1]);
    await ask('{}');
    lose(netns, 1);
    expect([await shown('first'), await shown('second')]).toEqual([3 + 2 * toggle, 3 + 2 * toggle]);
  }
  expect([loads.length, loads[0]?.programInfo(PROGRAM).id]).toEqual([1, id]);

  await ask('probes: { first: false, second: false }');
  expect(drops.users).toBe(0);
  expect(() => loads[0]?.programInfo(PROGRAM)).toThrow(/closed/);
  await ask('{}');
  expect(loads.length).toBe(2);
});
