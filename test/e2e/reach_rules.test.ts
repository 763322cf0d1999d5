import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { AgentProcess, BIN } from '../support/agent_process.ts';
import { eventually } from '../support/oracle.ts';
import { ReachBed, SERVER } from '../support/reach/bed.ts';
import { runReach } from '../support/reach/run_scenario.ts';

const RULES = 5_000;

let bed: ReachBed;
let agent: AgentProcess;

beforeAll(async () => {
  bed = await ReachBed.open();
  agent = await AgentProcess.serve();
  await eventually(async () => {
    const { entities } = await agent.json<{ entities: readonly { pod: string }[] }>('/api/v1/entities');
    expect(entities.map(({ pod }) => pod)).toContain(bed.hosts.q.name);
  });
});
afterAll(async () => {
  await agent[Symbol.asyncDispose]();
  await bed[Symbol.asyncDispose]();
});

const ruleset = () => bed.exec('q', 'nft -a list ruleset');

async function reachRule(rights = '+sys_admin,+net_admin') {
  const args = ['--netns', bed.hosts.a.name, '--to', `${SERVER}:8080`, '--rules', '--timeout', '1s'];
  const wrapper = ['setpriv', `--bounding-set=-all,${rights}`, '--inh-caps=-all'];
  return await runReach([...args, '--url', agent.url ?? ''], {}, wrapper);
}

/** Makes rules that match nothing, before and after the one that drops. */
function many(line: (index: number) => string, drop: string): string {
  const lines = Array.from({ length: RULES }, (_, index) => line(index));
  lines.splice(RULES / 2, 0, drop);
  return lines.join('\n');
}

it('names the rule of nftables among 5,000, and leaves the ruleset as it was', async () => {
  const drop = 'tcp dport 8080 counter drop comment "shop: nobody reads the web"';
  const rules = many((index) => `ip saddr 10.99.${index >> 8}.${index & 255} drop`, drop);
  bed.exec(
    'q',
    `nft -f - <<'END'\ntable inet shop { chain forward { type filter hook forward priority 0;\n${rules}\n}\n}\nEND`,
  );
  const before = ruleset().replace(/packets \d+ bytes \d+/, '');
  const { stdout } = await reachRule();
  const handle = /8080 .* comment .* # handle (\d+)/.exec(ruleset())?.[1];
  expect(stdout).toContain(
    `rule: rule ${RULES / 2 + 1} (handle ${handle}, comment "shop: nobody reads the web") of chain forward of table inet shop`,
  );
  expect(stdout).not.toContain('--rules');
  expect(ruleset().replace(/packets \d+ bytes \d+/, '')).toBe(before);
  expect((await reachRule('+sys_admin')).stdout).toMatch(/rules: .*CAP_NET_ADMIN/);
  bed.exec('q', 'nft flush ruleset');
});

/** The rules without the counters, which packets change, and without the times of the listing. */
const legacyRules = () => bed.exec('q', 'iptables-legacy-save').replace(/\[\d+:\d+\]|^#.*$/gm, '');
const logger = () => bed.exec('q', 'cat /proc/sys/net/netfilter/nf_log/2');

it('names the rule of iptables-legacy among 5,000, and leaves the rules and the logger as they were', async () => {
  const drop = '-A KUBE-NWPLCY-X -p tcp --dport 8080 -j DROP';
  const other = 'echo "-A KUBE-NWPLCY-X -s 10.99.$((n >> 8)).$((n & 255)) -j DROP"';
  bed.exec(
    'q',
    `{ printf '*filter\\n:KUBE-NWPLCY-X -\\n-A FORWARD -j KUBE-NWPLCY-X\\n'
for ((n = 0; n < ${RULES}; n++)); do [ $n -ne ${RULES / 2} ] || echo '${drop}'; ${other}; done; echo COMMIT; } | iptables-legacy-restore`,
  );
  const before = [legacyRules(), ruleset(), logger()];
  const { stdout } = await reachRule();
  expect(stdout).toContain(`rule: rule ${RULES / 2 + 1} of chain KUBE-NWPLCY-X of table filter (iptables-legacy)`);
  expect([legacyRules(), ruleset(), logger()]).toEqual(before);
});

it('leaves no table behind if it is killed, and the next run puts the logger back', async () => {
  bed.exec('q', 'iptables-legacy -F && iptables-legacy -A FORWARD -p tcp --dport 8080 -j DROP');
  const before = [legacyRules(), ruleset(), logger()];
  const args = ['--netns', bed.hosts.a.name, '--to', `${SERVER}:8080`, '--url', agent.url ?? ''];
  const child = spawn(BIN, ['reach', ...args, '--rules'], { stdio: 'ignore' });
  const gone = once(child, 'exit');
  await eventually(() => expect([ruleset(), logger()].join('')).toMatch(/netsonde-reach.*nfnetlink_log/s));
  child.kill('SIGKILL');
  await gone;
  expect([legacyRules(), ruleset()]).toEqual(before.slice(0, 2));
  await runReach([...args, '--timeout', '100ms']);
  expect([legacyRules(), ruleset(), logger()]).toEqual(before);
});
