import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { SinksReport } from '#api/sinks.ts';
import { AgentProcess } from '../../test/support/agent_process.ts';
import type { Exposition } from '../../test/support/exposition.ts';
import { TestNetns } from '../../test/support/hosts.ts';
import { ManyNetns } from '../../test/support/many_netns.ts';
import { eventually } from '../../test/support/oracle.ts';
import { FreesOracle } from '../../test/support/orderly/frees.ts';
import { cpuMsOf, ThreadTimes } from '../lived/threads.ts';
import type { Row } from '../measure.ts';
import { ATTACK_MS, ATTACKS, type Attack } from './kinds.ts';
import { Looks, residentKiB } from './looks.ts';

const NEIGHBORS = 110;
const BEFORE_SCRAPES = 20;
const BEFORE_EVERY_MS = 250;
/**
 * Time until the owners of new namespaces are final. The agent repeats its scans for ten seconds after a namespace
 * appears.
 */
const SETTLE_MS = 11_000;
/**
 * Time after an attack within which the agent's memory must return to its previous size. Scrapes continue meanwhile.
 */
const AFTER_MS = 60_000;
const AFTER_EVERY_MS = 15_000;
const READY_MS = 120_000;
/**
 * Range of subnets (second byte of the address) that no address on this machine has. The oracle therefore counts only
 * packets whose namespace is known.
 */
const NO_SUBNET = [255, 255] as const;
/** Metrics that together count every packet that the kernel frees without delivering it. */
const FREES = ['netsonde_packet_drops_total', 'netsonde_packet_discards_total'];
/** Metrics that count packets whose rows were removed or do not exist yet. */
const NOT_SHOWN = ['netsonde_probe_departed_total', 'netsonde_probe_waiting'];

/**
 * Measures how much hostile Pods, clients and files affect the agent and its other users. Each attack runs at full
 * scale against a new agent.
 * @param only runs only the attacks whose names contain this text
 */
export async function benchAttacks(only = ''): Promise<Row[]> {
  await using many = await ManyNetns.create(NEIGHBORS);
  const rows: Row[] = [];
  for (const attack of ATTACKS) if (attack.name.includes(only)) rows.push(...(await measure(attack, many)));
  return rows;
}

async function measure(attack: Attack, many: ManyNetns): Promise<Row[]> {
  // The kernel reuses the inode numbers of removed namespaces, so each attack needs a new oracle.
  using oracle = await FreesOracle.open(NO_SUBNET);
  await using held = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), 'attacks-'));
  held.defer(() => rmSync(folder, { recursive: true, force: true }));
  const config = join(folder, 'config.yaml');
  // Nothing listens on this port, so the events go to the spool.
  const loki = { url: 'http://127.0.0.1:9', batch: { age: '0s' }, spool: { directory: join(folder, 'spool') } };
  writeFileSync(config, JSON.stringify({ events: { fold: '0s' }, sinks: { stdout: {}, loki } }));
  using victim = new TestNetns();
  victim.ip('link set lo up');
  const agent = held.use(await AgentProcess.serve(['--config', config]));
  await eventually(async () => {
    if ((await agent.get('/readyz')).status !== 200) throw new Error('not ready');
  }, READY_MS);
  await many.use();
  for (let scrapes = 0; scrapes < BEFORE_SCRAPES; scrapes++) {
    await agent.page();
    await wait(BEFORE_EVERY_MS);
  }
  await wait(SETTLE_MS);
  const before = await agent.page();
  const bytesBefore = (await (await agent.get('/metrics')).text()).length;
  const rssBefore = residentKiB(agent);
  const usedBefore = ThreadTimes.of(agent.pid);
  using looks = new Looks(agent, victim);
  const oracleOf = (of: ReadonlySet<number>) =>
    [...oracle.read(of).values()].reduce((sum, { count }) => sum + count, 0);
  let freed = 0;
  let isCounted = false;
  {
    await using resources = new AsyncDisposableStack();
    const begun = attack.begin({ agent, folder, config, resources });
    await looks.during(ATTACK_MS / 2);
    const losses = await begun;
    // The attack continues during this second half.
    await looks.during(ATTACK_MS / 2);
    await losses?.ended;
    // The oracle must be read before the namespaces are removed, because the kernel reuses their inode numbers.
    freed = losses === undefined ? 0 : oracleOf(losses.inums);
    isCounted = losses !== undefined;
  }
  const used = ThreadTimes.of(agent.pid).since(usedBefore);
  const atEnd = await agent.page();
  for (let ms = 0; ms < AFTER_MS; ms += AFTER_EVERY_MS) {
    await wait(AFTER_EVERY_MS);
    await agent.page();
  }
  const rssAfter = residentKiB(agent);
  const after = await agent.page();
  const { sinks } = await agent.json<SinksReport>('/api/v1/sinks');
  agent.signal('SIGTERM');
  const exit = await agent.exited;
  const events = agent.stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as { probe: string; pod: string })
    .filter(({ probe, pod }) => probe === 'packetloss' && pod === victim.name);
  const rows: Row[] = [];
  const add = (what: string, value: number, unit = '', bound?: Row['bound']) =>
    rows.push({ bench: `attack: ${attack.name}`, what, value, unit, ...(bound === undefined ? {} : { bound }) });
  const ofVictim = oracleOf(new Set([victim.inum]));
  add('packets of the victim, by the oracle', ofVictim);
  add('packets of the victim too many or too few', Math.abs(sumOf(after, isOf(victim)) - ofVictim), '', { atMost: 0 });
  add('missing events of the victim', looks.lost - events.length, '', { atMost: 0 });
  if (isCounted) {
    const moreThanBefore = (page: Exposition) =>
      sumOf(page, (pod) => pod !== victim.name) - sumOf(before, (pod) => pod !== victim.name) - freed;
    add('packets of the attacker, by the oracle', freed);
    add('packets in other rows beyond these, at the end', moreThanBefore(atEnd));
    add('packets in other rows beyond these, a minute after', moreThanBefore(after));
  }
  add('longest answer of /healthz over a new connection', looks.most('newMs'), 'ms', { atMost: 100 });
  add('longest answer of /healthz over a kept connection', looks.most('keptMs'), 'ms', { atMost: 100 });
  add('reopened connections', looks.reopened);
  add('longest scrape', looks.most('scrapeMs'), 'ms', { atMost: 1_000 });
  add('most CPU during a scrape', looks.most('scrapeCpuMs'), 'ms');
  add('largest page, of before', looks.most('pageBytes') / bytesBefore, '×', { atMost: 2 });
  add('RSS before', rssBefore / 1_024, 'MB');
  add('largest RSS, of before', looks.most('rssKiB') / rssBefore, '×', { atMost: 1.5 });
  add('RSS a minute after, relative to before', rssAfter / rssBefore, '×', { atMost: 1.1 });
  add('share of a CPU', (100 * cpuMsOf(used)) / used.elapsedMs, '%');
  add('exit status after SIGTERM', exit.code ?? -1, '', { atMost: 0 });
  process.stderr.write(`${attack.name}: ${JSON.stringify(sinks)}\n`);
  return rows;
}

function isOf({ name }: TestNetns): (pod: string) => boolean {
  return (pod) => pod === name;
}

/**
 * Adds up the drops and discards in the rows of the selected Pods. Packets that are in no row count as packets of a Pod
 * with an empty name.
 */
function sumOf({ samples }: Exposition, isMeant: (pod: string) => boolean): number {
  return samples
    .filter(
      ({ name, labels }) =>
        (FREES.includes(name) && isMeant(labels['pod'] ?? '')) ||
        (NOT_SHOWN.includes(name) && labels['probe'] === 'packetloss' && isMeant('')),
    )
    .reduce((sum, { value }) => sum + Number(value), 0);
}
