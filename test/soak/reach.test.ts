import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { AgentProcess } from '../support/agent_process.ts';
import { ReachBed, SERVER } from '../support/reach/bed.ts';
import { HELD_OUT } from '../support/reach/held_out.ts';
import { IN_SAMPLE } from '../support/reach/in_sample.ts';
import { runReach, runScenario } from '../support/reach/run_scenario.ts';

const ANSWERS: Readonly<Record<string, string>> = JSON.parse(
  readFileSync(new URL('../fixtures/reach/held_out_answers.json', import.meta.url), 'utf8'),
);

let bed: ReachBed;
let agent: AgentProcess;

beforeAll(async () => {
  bed = await ReachBed.open();
  agent = await AgentProcess.serve();
});
afterAll(async () => {
  await agent[Symbol.asyncDispose]();
  await bed[Symbol.asyncDispose]();
});

const causes = [
  ...IN_SAMPLE.map((scenario) => ({ ...scenario, from: 'known' })),
  ...HELD_OUT.map((scenario) => ({ ...scenario, cause: ANSWERS[scenario.name] ?? '', from: 'held out' })),
];

it.each(causes)('$from: $name', async (scenario) => {
  const { verdict } = await runScenario(bed, scenario, ['--url', agent.url ?? '']);
  expect(verdict.cause).toBe(scenario.cause);
  expect(verdict.sure).not.toBe('unknown');
});

async function reachRule() {
  const args = ['--netns', bed.hosts.a.name, '--to', `${SERVER}:8080`, '--rules', '--timeout', '1s'];
  return await runReach([...args, '--url', agent.url ?? '']);
}

it('names the rule of iptables-nft', async () => {
  bed.exec('q', 'iptables-nft -N KUBE-NWPLCY-X && iptables-nft -A FORWARD -j KUBE-NWPLCY-X');
  bed.exec(
    'q',
    'iptables-nft -A KUBE-NWPLCY-X -s 10.9.9.9 -j DROP && iptables-nft -A KUBE-NWPLCY-X -p tcp --dport 8080 -j DROP',
  );
  const { stdout } = await reachRule();
  expect(stdout).toMatch(/rule: rule 2 \(handle \d+\) of chain KUBE-NWPLCY-X of table ip filter/);
  bed.exec('q', 'nft flush ruleset');
});

it('names the policy of a chain', async () => {
  bed.exec('q', "nft 'table ip t { chain c { type filter hook forward priority 0; policy drop; } ; }'");
  const { stdout } = await reachRule();
  expect(stdout).toContain('rule: the policy of chain c of table ip t');
  bed.exec('q', 'nft flush ruleset');
});
