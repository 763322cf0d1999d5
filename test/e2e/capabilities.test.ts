import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ProbeStatus } from '#api/probes.ts';
import { AGENT_RIGHTS, capabilitiesOf, type RightsSet } from '#core/rights.ts';
import type { HookTable } from '#probe/hooks.ts';
import type { MetricDescriptor } from '#probe/metric.ts';
import { PROBES } from '#probes/index.ts';
import { LOSSES, type Loss, MEASURED_FILE } from '../../scripts/rights_tables.ts';
import { SECCOMP_PROFILE } from '../../scripts/seccomp_profile.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { CGROUP_V2, TestPod } from '../support/cgroups.ts';
import type { Exposition } from '../support/exposition.ts';
import { TestNetns } from '../support/hosts.ts';
import { eventually } from '../support/oracle.ts';
import { compileProfile, type Profile, underFilter } from '../support/seccomp.ts';
import { type SecurityContext, setpriv, shipped } from '../support/security_context.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

const CONTEXTS = {
  default: shipped([]).container.securityContext,
  packets: shipped(['packets']).container.securityContext,
  processes: shipped(['processes']).container.securityContext,
  all: shipped(['packets', 'processes']).container.securityContext,
} as const;
type SetName = keyof typeof CONTEXTS;

const UNPRIVILEGED = 65_532;
const AF_NETLINK = 16;
const EAFNOSUPPORT = 97;
/** Probes that need a kernel module, which may be missing here. */
const NEED_MODULES = new Set(PROBES.filter(({ requires }) => requires.module !== undefined).map(({ name }) => name));
/** Probes that need function hooks, which this kernel may not support. */
const NEED_FUNCTIONS = new Set(
  PROBES.filter(({ hooks }) => hooks !== undefined && hooksFunctions(hooks)).map(({ name }) => name),
);
/** User ID of the Pod's processes. */
const POD_USER = 64_321;

function hooksFunctions({ points }: HookTable): boolean {
  const hooks = points.flatMap(({ choices }) => choices.flatMap((choice) => choice.hooks));
  return hooks.some(({ kind }) => kind !== 'tp_btf' && kind !== 'raw_tp' && kind !== 'cgroup_skb');
}

/** `npm run rights` sets this. Results that differ from scripts/measured_rights.json are then written to that file. */
const MEASURES = process.env['MEASURE_RIGHTS'] === '1';
let measured: readonly Loss[] = LOSSES;

const directory = mkdtempSync(join(tmpdir(), 'capabilities-'));
const config = join(directory, 'config.yaml');
const place = join(directory, 'project');
/** The shipped seccomp profile. All tests run under it. */
const filter = join(directory, 'filter');

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

/** Returns a command prefix that applies a securityContext as a container runtime does. */
function confine(context: SecurityContext, user: number, capabilities: readonly string[]): string[] {
  return [
    ...(context.readOnlyRootFilesystem ? ['unshare', '--mount', 'sh', '-c', READ_ONLY, 'sh', PROJECT, place] : []),
    ...setpriv(context, user, capabilities),
    ...underFilter(filter),
  ];
}

interface Seen {
  readonly probes: ReadonlyMap<string, ProbeStatus>;
  /** Names of metrics with series of the Pod, by probe. */
  readonly metrics: ReadonlyMap<string, readonly string[]>;
}

/** Probes whose series appear only after an event. */
const OCCASIONAL = new Set(PROBES.filter(({ kind }) => kind === 'ebpf').map(({ name }) => name));

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

const resources = new AsyncDisposableStack();
let pod: TestPod;

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

beforeAll(async () => {
  chmodSync(directory, 0o755);
  mkdirSync(place);
  writeFileSync(filter, compileProfile(SECCOMP_PROFILE));
  const probes = PROBES.map(({ name }) => `  ${name}: ${name === 'conntrack' ? '{ states: true }' : 'true'}`);
  writeFileSync(config, ['detail: full', 'sinks: {}', 'probes:', ...probes].join('\n'));
  pod = resources.use(new TestPod(CGROUP_V2));
  const netns = resources.use(new TestNetns());
  netns.ip('link set lo up');
  netns.ip('link add name va type veth peer name vb');
  netns.ip('link set va up');
  netns.ip('link set vb up');
  netns.tc('qdisc add dev va root pfifo limit 100');
  netns.exec('nft add table inet track');
  netns.exec('nft add chain inet track in { type filter hook input priority 0 ; }');
  netns.exec('nft add rule inet track in ct state established accept');
  const child = spawn('ip', ['netns', 'exec', netns.name, 'python3', '-c', PROGRAM], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const gone = new Promise((resolve) => child.once('exit', resolve));
  resources.defer(async () => {
    child.kill('SIGKILL');
    await gone;
  });
  await Promise.race([
    new Promise((resolve) => child.stdout.once('data', resolve)),
    gone.then(() => Promise.reject(new Error('the Pod ended'))),
  ]);
  pod.add(child.pid ?? 0);
});

afterAll(async () => {
  await resources.disposeAsync();
  rmSync(directory, { recursive: true, force: true });
  if (MEASURES) writeFileSync(MEASURED_FILE, `${JSON.stringify(measured, undefined, 2)}\n`);
});

async function look(agent: AgentProcess): Promise<Seen> {
  const page = await agent.page();
  const { probes } = await agent.json<{ probes: ProbeStatus[] }>('/api/v1/probes');
  const byName = new Map(probes.map((probe) => [probe.name, probe]));
  if (byName.get('packetloss')?.state === 'running') {
    const lost = page.samples.filter(
      ({ name, labels }) => name === 'netsonde_packet_drops_total' && labels['pod'] === pod.uid,
    );
    expect(lost.map(({ labels }) => labels['reason'])).toContain('NO_SOCKET');
  }
  return { probes: byName, metrics: metricsOf(page, pod.uid) };
}

/** Runs the agent with all but one capability of a set, until `check` passes. */
async function see(set: SetName, without: string, user: number, check: (seen: Seen) => void): Promise<Seen> {
  const context = CONTEXTS[set];
  const capabilities = context.capabilities.add.filter((name) => name !== without);
  await using agent = await AgentProcess.serve(['--config', config], confine(context, user, capabilities));
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
      const now = await look(agent);
      check(now);
      return now;
    }),
  );
  return await Promise.race([seen, ended]);
}

/**
 * Returns the recorded loss of a probe without this capability. If none is recorded, returns the loss with the complete
 * set.
 */
function lossOf(probe: string, set: SetName, without: string): Loss | undefined {
  const losses = LOSSES.filter((loss) => loss.set === set && loss.probes.includes(probe));
  return (
    losses.find((loss) => without !== '' && loss.without === without) ?? losses.find((loss) => loss.without === '')
  );
}

function plain(reason: string): string {
  return reason.replace(/\d+/g, 'N');
}

function expectAsDocumented(seen: Seen, all: Seen, set: SetName, without: string): void {
  if (MEASURES && set !== 'all') measured = correct(measured, seen, all, set, without);
  else for (const name of seen.probes.keys()) expectProbe(name, seen, all, set, without);
}

function readBy(reader: string | undefined): { reader?: string } {
  return reader === undefined ? {} : { reader };
}

/** Returns the part of a reason before its first number, because numbers differ between runs. */
function lasting(reason: string): string {
  return reason.replace(/[\s(]*\d.*$/s, '') || reason;
}

/**
 * Returns the losses, updated with the results for a set. A probe is added to an existing row if the probe's reason
 * contains the reason of that row.
 */
function correct(losses: readonly Loss[], seen: Seen, all: Seen, set: Loss['set'], without: string): Loss[] {
  const corrected = [...losses];
  for (const [name, { state, reader, reason }] of seen.probes) {
    const best = all.probes.get(name);
    const known = lossOf(name, set, without) ?? best;
    expect(state, name).not.toBe('starting');
    // The state matches the recorded state. expectProbe() fails if metrics are missing, because the probe should then
    // have reported a worse state. A running probe may give a reason for what it does without.
    const isNoted = state === 'running' && known === best && plain(reason) !== plain(best?.reason ?? '');
    if (state === known?.state && !isNoted) {
      expectProbe(name, seen, all, set, without);
      continue;
    }
    const at = corrected.findIndex(
      (loss) => loss.set === set && loss.without === without && loss.probes.includes(name),
    );
    const old = corrected[at];
    if (old !== undefined) corrected[at] = { ...old, probes: old.probes.filter((probe) => probe !== name) };
    const ownReader = state === 'unsupported' || reader === all.probes.get(name)?.reader ? undefined : reader;
    const same = corrected.findIndex(
      (loss) =>
        loss.set === set &&
        loss.without === without &&
        loss.state === state &&
        loss.reader === ownReader &&
        loss.reason !== '' &&
        reason.includes(loss.reason),
    );
    const row = corrected[same];
    if (row !== undefined) corrected[same] = { ...row, probes: [...row.probes, name] };
    else corrected.push({ set, without, probes: [name], state, ...readBy(ownReader), reason: lasting(reason) });
  }
  return corrected.filter(({ probes }) => probes.length > 0);
}

function expectProbe(name: string, seen: Seen, all: Seen, set: SetName, without: string): void {
  const status = seen.probes.get(name);
  const best = all.probes.get(name);
  const row = lossOf(name, set, without);
  const where = `${name} with ${set} without ${without || 'nothing less'}`;
  const expected = {
    state: row?.state ?? best?.state,
    reader: row?.state === 'unsupported' ? '' : (row?.reader ?? best?.reader),
  };
  expect({ state: status?.state, reader: status?.reader }, `${where}: ${status?.reason}`).toEqual(expected);
  // If the machine lacks the feature itself, the reason may be worded differently.
  if (row === undefined && best?.state === 'unsupported') return;
  if (row === undefined) expect(plain(status?.reason ?? ''), where).toBe(plain(best?.reason ?? ''));
  else expect(status?.reason, where).toContain(row.reason);
  const mayLose = row !== undefined && row.state !== 'running';
  if (!mayLose) expect(seen.metrics.get(name), where).toEqual(all.metrics.get(name));
  else if (!OCCASIONAL.has(name)) {
    expect(seen.metrics.get(name)?.length, where).toBeLessThan(all.metrics.get(name)?.length ?? 0);
  }
}

describe('docs/capabilities.md', () => {
  it('has the shipped sets, and a loss for each of their capabilities', () => {
    for (const [name, { capabilities }] of Object.entries(CONTEXTS)) {
      const sets: RightsSet['name'][] = name === 'all' ? ['packets', 'processes'] : [name as RightsSet['name']];
      expect([...capabilities.add].sort(), name).toEqual([...capabilitiesOf(sets)].sort());
      expect(capabilities.drop).toEqual(['ALL']);
    }
    for (const { name, adds } of AGENT_RIGHTS) {
      const isMissed = (capability: string) =>
        LOSSES.some(({ set, without, reason }) =>
          name === 'packets' ? reason.includes(capability) : set === name && without === capability,
        );
      for (const capability of adds) expect(isMissed(capability), `${name} ${capability}`).toBe(true);
    }
  });

  it('knows every probe, and every capability that a probe requires', () => {
    const names = PROBES.map(({ name }) => name);
    for (const { probes } of LOSSES) expect(names).toEqual(expect.arrayContaining([...probes]));
    for (const { name, requires } of PROBES) {
      for (const capability of requires.capabilities) {
        const short = capability.replace('CAP_', '');
        expect(capabilitiesOf(['packets', 'processes']), name).toContain(short);
        // At least one row must show that the probe names the missing capability.
        const missed = LOSSES.filter(({ probes }) => probes.includes(name)).map(
          ({ without, reason }) => `${without} ${reason}`,
        );
        if (!NEED_MODULES.has(name)) expect(missed.join(), `${name} ${capability}`).toContain(short);
      }
    }
  });
});

describe('the shipped securityContext', () => {
  let all: Seen;
  beforeAll(async () => {
    all = await see('all', '', CONTEXTS.all.runAsUser, expectEverything);
  });

  function expectEverything({ probes, metrics }: Seen): void {
    for (const [name, { state, reason }] of probes) {
      if (NEED_MODULES.has(name)) expect(`${name} ${state} ${reason}`).toMatch(/ (running |(unsupported|degraded) .)/);
      else if (NEED_FUNCTIONS.has(name))
        expect(`${state} ${reason}`).toMatch(/^running |no function|functions .* cannot be hooked/);
      // Namespaces of other tests may use up the rows of namespaces without an owner, regardless of the agent's
      // capabilities.
      else if (!/^\w+: namespaces without an owner used all \d+ rows/.test(reason))
        expect(`${name} ${state} ${reason}`).toBe(`${name} running `);
    }
    for (const { name, metrics: declared } of PROBES) {
      const isOfPods = Object.values<MetricDescriptor>(declared).some(({ scope }) => scope === 'pod');
      if (isOfPods && !OCCASIONAL.has(name) && !NEED_MODULES.has(name)) expect(metrics.get(name), name).not.toEqual([]);
    }
  }

  it('of all probes shows everything', () => expectEverything(all));

  it.each([
    ['all', UNPRIVILEGED],
    ['default', CONTEXTS.default.runAsUser],
    ['default', UNPRIVILEGED],
    ['packets', UNPRIVILEGED],
    ['processes', UNPRIVILEGED],
  ] as const)('%s, as user %i, shows what the document lists', async (set, user) => {
    await see(set, '', user, (seen) => expectAsDocumented(seen, all, set, ''));
  });

  /** The only part of a default probe that needs a right beyond the default set. */
  const NO_LOOKUP = 'peers behind NAT have the translated address: looking up connections needs CAP_NET_ADMIN';

  it('of the base starts without a warning, and runs all default probes', async () => {
    const context = CONTEXTS.default;
    const confined = confine(context, context.runAsUser, context.capabilities.add);
    await using agent = await AgentProcess.serve([], confined);
    await eventually(async () => expect((await agent.get('/readyz')).status).toBe(200));
    const { probes } = await agent.json<{ probes: ProbeStatus[] }>('/api/v1/probes');
    const on = new Set(PROBES.filter(({ enabledByDefault }) => enabledByDefault).map(({ name }) => name));
    expect(
      probes.filter(({ name }) => on.has(name)).map(({ name, state, reason }) => `${name} ${state} ${reason}`),
    ).toEqual([...on].map((name) => `${name} running ${name === 'flow' ? NO_LOOKUP : ''}`));
    expect(agent.stderr).not.toMatch(/ (warn|error) /);
  });

  // `packets` adds one capability, so `packets` without it equals `default`.
  const LESS_ONE = AGENT_RIGHTS.filter(({ name }) => name !== 'packets').flatMap(({ name, adds }) =>
    adds.map((capability) => [name as SetName, capability] as const),
  );

  it.each(LESS_ONE)('%s without %s loses what the document lists, and nothing else', async (set, capability) => {
    await see(set, capability, UNPRIVILEGED, (seen) => expectAsDocumented(seen, all, set, capability));
  });

  it('under a filter that refuses netlink and bpf() each probe names the filter, and no probe runs without delivering data', async () => {
    const refusing: Profile = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [
        { names: ['bpf'], action: 'SCMP_ACT_ERRNO' },
        // systemd's RestrictAddressFamilies returns this error.
        {
          names: ['socket'],
          action: 'SCMP_ACT_ERRNO',
          errnoRet: EAFNOSUPPORT,
          args: [{ index: 0, value: AF_NETLINK, op: 'SCMP_CMP_EQ' }],
        },
      ],
    };
    const file = join(directory, 'refusing');
    writeFileSync(file, compileProfile(refusing));
    await using agent = await AgentProcess.serve(['--config', config], underFilter(file));
    await eventually(async () => expect((await agent.get('/readyz')).status).toBe(200));
    const { probes } = await agent.json<{ probes: ProbeStatus[] }>('/api/v1/probes');
    const seen = new Map(probes.map(({ name, state, reason }) => [name, `${state}: ${reason}`]));
    expect(seen.get('qdisc')).toMatch(
      /^unsupported: a filter of system calls \(seccomp\) refuses socket\(AF_NETLINK\)/,
    );
    expect(seen.get('conntrack')).toMatch(
      /^unsupported: a filter of system calls \(seccomp\) refuses socket\(AF_NETLINK\)/,
    );
    expect(seen.get('packetloss')).toMatch(/^unsupported: .*a filter of system calls \(seccomp\) refuses bpf/);
    expect(seen.get('tcp')).toMatch(/^running: .*a filter of system calls \(seccomp\) refuses bpf/);
  });
});
