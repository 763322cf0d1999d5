import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { http } from '#probes/http/http.ts';
import { sampleValue } from '../support/exposition.ts';
import { HostPair } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';

const PROGRAM = fileURLToPath(new URL('../support/http_senders.py', import.meta.url));
const PORT = 8_097;
const ROUNDS = 30;

it('counts requests and responses in whatever way the bytes reach the socket', async () => {
  await using stack = new AsyncDisposableStack();
  const pair = stack.use(await HostPair.create());
  const { a, b, addressB } = pair;
  const agent = stack.use(await TestKernel.open(only({ http: { enabled: true } }, { detail: 'full' })));
  const command = (name: string, ...args: readonly string[]) => [
    'netns',
    'exec',
    name,
    'python3',
    '-u',
    PROGRAM,
    ...args,
  ];
  const server = spawn('ip', command(b.netns.name, 'serve', addressB.ipv4, String(PORT)), {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  stack.defer(() => void server.stdin.end());
  const { value } = await createInterface({ input: server.stdout })[Symbol.asyncIterator]().next();
  expect(value).toBe('ready');
  const sent: Record<string, number> = JSON.parse(
    a.netns.exec(`python3 -u ${PROGRAM} send ${addressB.ipv4} ${PORT} ${ROUNDS}`),
  );
  expect(Object.keys(sent)).toEqual(['write', 'more', 'vectors', 'zerocopy', 'sendfile', 'splice', 'uring']);
  const expected = Object.values(sent).reduce((sum, count) => sum + count, 0);
  await eventually(async () => {
    const page = await agent.page();
    for (const [pod, role] of [
      [a.netns.name, 'client'],
      [b.netns.name, 'server'],
    ] as const) {
      expect(sampleValue(page, http.metrics.responses.name, { pod, role, method: 'GET', code: '200' }), role).toBe(
        expected,
      );
      expect(sampleValue(page, http.metrics.open.name, { pod, role }), role).toBe(0);
    }
  });
});
