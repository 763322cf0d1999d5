import { spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { errorsOf } from '../support/conntrack_errors.ts';
import { uniqueName } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';

const CONFIG = only({ conntrack: { states: true } }, { detail: 'full' });
const CHURN = 15;

describe.each([
  ['pass', {}],
  ['netlink', { objects: '/nonexistent' }],
])('by %s', (_, options) => {
  let agent: TestKernel;
  beforeAll(async () => {
    agent = await TestKernel.open(CONFIG, options);
  });
  afterAll(() => agent?.[Symbol.asyncDispose]());

  it('reports no error for namespaces that die after they were listed', async () => {
    const before = errorsOf(await agent.page());
    const name = uniqueName('ch');
    const each = (line: string) => `for i in $(seq ${CHURN}); do ${line}; done`;
    const script = [
      each(`ip netns add ${name}$i`),
      each(`ip netns exec ${name}$i conntrack -I -p udp -s 192.0.2.1 -d 192.0.2.2 --sport 1 --dport 2 -t 300`),
      // The namespaces are deleted only after the agent has seen all of them.
      'read line',
      each(`ip netns del ${name}$i`),
    ].join('; ');
    const churn = spawn('sh', ['-c', script], { stdio: ['pipe', 'ignore', 'ignore'] });
    let running = true;
    const ended = new Promise((resolve) => churn.once('exit', resolve)).finally(() => {
      running = false;
    });
    const seen = new Set<string>();
    while (running) {
      const page = await agent.page();
      for (const { labels } of page.samples) if (labels['pod']?.startsWith(name)) seen.add(labels['pod']);
      if (seen.size === CHURN && !churn.stdin.writableEnded) churn.stdin.end('\n');
    }
    expect(await ended).toBe(0);
    expect(seen.size).toBe(CHURN);
    expect(errorsOf(await agent.page())).toEqual(before);
  });
});
