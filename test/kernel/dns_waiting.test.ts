import { writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { MAX_ENTRIES } from '#bpf/generated/dns.ts';
import { dns } from '#probes/dns/dns.ts';
import { HostPair, startPython } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { sumsOf } from '../support/sample_sums.ts';

const PAIRS = 3;
const QUERIES = 1_000;
/** Option SO_RCVBUFFORCE (include/uapi/asm-generic/socket.h), so that no datagram is dropped. */
const SOCKET = `
import os, socket, struct, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)`;

function server(address: string, file: string): string {
  return `${SOCKET}
sock.bind((${JSON.stringify(address)}, 53))
print('ready')
queries = [sock.recvfrom(512) for _ in range(${QUERIES})]
while not os.path.exists(${JSON.stringify(file)}):
    time.sleep(0.05)
for query, client in queries:
    sock.sendto(query[:2] + b'\\x81\\x80' + query[4:], client)
time.sleep(3600)`;
}

function client(address: string): string {
  return `${SOCKET}
for number in range(${QUERIES}):
    name = b'n%d' % number
    question = bytes([len(name)]) + name + b'\\x04test\\x00\\x00\\x01\\x00\\x01'
    sock.sendto(struct.pack('!6H', number, 0x100, 1, 0, 0, 0) + question, (${JSON.stringify(address)}, 53))
print('ready')
time.sleep(3600)`;
}

it('counts the answers of more queries than the preallocated entries hold', async () => {
  expect(2 * PAIRS * QUERIES).toBeGreaterThan(MAX_ENTRIES.dns_waiting);
  await using stack = new AsyncDisposableStack();
  const file = join(stack.use(await mkdtempDisposable(join(tmpdir(), 'dns-'))).path, 'answer');
  const pairs: HostPair[] = [];
  for (let pair = 0; pair < PAIRS; pair++) pairs.push(stack.use(await HostPair.create()));
  const ends = pairs.flatMap(({ a, b }) => [
    { pod: a.netns.name, role: 'client' },
    { pod: b.netns.name, role: 'server' },
  ]);
  const agent = stack.use(
    await TestKernel.open(only({ dns: { enabled: true, events: false, timeout: '30s' } }, { detail: 'full' })),
  );
  for (const { b, addressB } of pairs) stack.use(await startPython(b.netns, server(addressB.ipv4, file)));
  for (const { a, addressB } of pairs) stack.use(await startPython(a.netns, client(addressB.ipv4)));
  const { queries, answers, unknown, waiting } = dns.metrics;
  const counts = async () => {
    const page = await agent.page();
    return ends.map((end) => ({
      queries: sumsOf(page, queries.name, end, ['qtype']),
      answers: sumsOf(page, answers.name, end, ['rcode']),
      waiting: sumsOf(page, waiting.name, end, ['role']),
      unknown: sumsOf(page, unknown.name, end, ['cause']),
    }));
  };
  const queried = { queries: { a: QUERIES }, unknown: {} };
  await eventually(async () =>
    expect(await counts()).toEqual(ends.map(({ role }) => ({ ...queried, answers: {}, waiting: { [role]: QUERIES } }))),
  );
  writeFileSync(file, '');
  await eventually(async () =>
    expect(await counts()).toEqual(ends.map(() => ({ ...queried, answers: { noerror: QUERIES }, waiting: {} }))),
  );
});
