import { deepEqual, equal } from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { PROBES } from '#probes/index.ts';
import { cpusOf } from '#sources/procfs/cpus.ts';
import { HostPair } from '../../support/hosts.ts';
import { TestKernel } from '../../support/kernel.ts';
import { readBoth } from '../../support/oracle.ts';
import { CPUS_GIVEN, defineChecks, Inapplicable } from '../check.ts';
import { kernelFeatures } from '../features.ts';

/** Probes that use a walk. All others are off, because each attached program makes a guest with many CPUs very slow. */
const WALKED = ['tcp', 'tcpext', 'udp', 'ip', 'icmp', 'sock', 'tcpsummary', 'conntrack', 'netdev'];
const CONFIG = JSON.stringify({
  detail: 'full',
  probes: Object.fromEntries(PROBES.map(({ name }) => [name, WALKED.includes(name)])),
});

const PORTS = [6001, 6002, 6003];

interface Context {
  readonly pair: HostPair;
  readonly pass: TestKernel;
  readonly files: TestKernel;
}

async function open(resources: AsyncDisposableStack): Promise<Context> {
  const pair = resources.use(await HostPair.create());
  const { b, addressB } = pair;
  await b.udpReceive({ address: addressB.ipv4, port: 6000 });
  for (const port of PORTS) await b.tcpServe({ address: addressB.ipv4, port });
  const pass = resources.use(await TestKernel.open(CONFIG));
  // Without object files, the agent cannot load BPF programs, so it reads files instead.
  const files = resources.use(await TestKernel.open(CONFIG, { objects: '/nowhere' }));
  return { pair, pass, files };
}

async function makeTraffic({ a, addressB: { ipv4: address } }: HostPair): Promise<void> {
  for (const port of PORTS) {
    await a.tcpExchange({ address, port, count: 2, bytes: 1000 });
    await a.udpSend({ address, port: 6000, count: 3, bytes: 100 });
  }
}

/** Waits until both agents show the same samples for the two namespaces, and returns the samples. */
async function equalPages({ pair: { a, b }, pass, files }: Context): Promise<Record<string, string>> {
  const samplesOf = async (agent: TestKernel) => {
    const { samples } = await agent.page();
    const theirs = samples.filter(({ labels }) => labels['pod'] === a.netns.name || labels['pod'] === b.netns.name);
    return Object.fromEntries(theirs.map(({ name, labels, value }) => [`${name} ${JSON.stringify(labels)}`, value]));
  };
  const { oracle, ours } = await readBoth(
    () => samplesOf(files),
    () => samplesOf(pass),
  );
  deepEqual(ours, oracle);
  return ours;
}

function setOnline(cpu: number, online: boolean): void {
  writeFileSync(`/sys/devices/system/cpu/cpu${cpu}/online`, online ? '1' : '0');
}

export const cpus = defineChecks('cpus', open, {
  'every walk runs, however many CPUs there are': async ({ pass }) => {
    await pass.page();
    const statuses = pass.kernel.probes().filter(({ name }) => WALKED.includes(name));
    const readers = statuses.map(
      ({ name, state, reader, reason }) => `${name} ${state} ${reader.replace(', netlink', '')} ${reason}`,
    );
    if (kernelFeatures().hasPass) deepEqual(readers.sort(), WALKED.map((name) => `${name} running pass `).sort());
    equal(cpusOf(DEFAULT_PATHS.sys).possible().length, Number(process.env[CPUS_GIVEN]));
  },

  'sums of the walks over the CPUs equal the files': async (context) => {
    await makeTraffic(context.pair);
    const page = await equalPages(context);
    equal(page[`netsonde_tcp_active_opens_total {"namespace":"","pod":"${context.pair.a.netns.name}"}`], '6');
  },

  'they also do while a CPU is offline, and when it is back': async (context) => {
    const last = cpusOf(DEFAULT_PATHS.sys).online().at(-1) ?? 0;
    if (last === 0) {
      equal(process.env[CPUS_GIVEN], '1');
      throw new Inapplicable('this machine has one CPU, which cannot be taken offline');
    }
    setOnline(last, false);
    await equalPages(context);
    await makeTraffic(context.pair);
    await equalPages(context);
    setOnline(last, true);
    await equalPages(context);
  },
});
