import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dns } from '#probes/dns/dns.ts';
import type { Exposition } from '../support/exposition.ts';
import { HostPair } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { program } from '../support/lan/programs.ts';
import { eventually } from '../support/oracle.ts';
import { lacks } from '../support/programs.ts';

/** The clients dnsperf and dig count their own answers, and the server is dnsmasq. */

const { queries, answers } = dns.metrics;

/** Names and types to ask for. The server has no other server to ask, so it refuses the names of others. */
const ASKED = [
  ['shop.test', 'A'],
  ['shop.test', 'AAAA'],
  ['text.shop.test', 'TXT'],
  ['cart.gone.test', 'A'],
  ['cart.gone.test', 'AAAA'],
  ['elsewhere.example', 'A'],
  ['elsewhere.example', 'MX'],
] as const;
const ROUNDS = 60;

let pair: HostPair;
let agent: TestKernel;
const stack = new AsyncDisposableStack();

type Counts = Readonly<Record<string, number>>;

beforeAll(async () => {
  pair = stack.use(await HostPair.create());
  agent = stack.use(await TestKernel.open(only({ dns: { enabled: true } })));
  const server = spawn('ip', [
    ...['netns', 'exec', pair.b.netns.name, program('dnsmasq'), '--keep-in-foreground', '--conf-file=/dev/null'],
    ...['--no-resolv', '--no-hosts', '--bind-interfaces', `--listen-address=${pair.addressB.ipv4}`, '--user=root'],
    ...['--pid-file=', '--address=/shop.test/10.1.2.3', '--local=/gone.test/', '--txt-record=text.shop.test,open'],
  ]);
  stack.defer(async () => {
    const gone = new Promise((resolve) => server.once('exit', resolve));
    server.kill();
    await gone;
  });
  await eventually(() => {
    const listening = pair.b.netns.exec('ss -Hlun sport = :53');
    expect(listening).toContain(':53');
  });
});

afterAll(() => stack.disposeAsync());

function countsOf(page: Exposition, pod: string, role: string): { queries: Counts; answers: Counts } {
  const by = (name: string, label: string) =>
    Object.fromEntries(
      (page.named.get(name) ?? [])
        .filter(({ labels }) => labels['pod'] === pod && labels['role'] === role)
        .map(({ labels, value }) => [labels[label] ?? '', Number(value)]),
    );
  return { queries: by(queries.name, 'qtype'), answers: by(answers.name, 'rcode') };
}

const minus = (after: Counts, before: Counts): Counts =>
  Object.fromEntries(
    Object.entries(after)
      .map(([key, value]) => [key, value - (before[key] ?? 0)] as const)
      .filter(([, change]) => change !== 0),
  );

function tally(keys: readonly string[]): Counts {
  return Object.fromEntries(
    Object.entries(Object.groupBy(keys, (key) => key)).map(([key, same]) => [key, same?.length ?? 0]),
  );
}

/** Checks that both ends count what the client counted. */
async function expectCounted(
  ask: () => Promise<{ queries: Counts; answers: Counts }> | { queries: Counts; answers: Counts },
) {
  const ends = [
    [pair.a.netns.name, 'client'],
    [pair.b.netns.name, 'server'],
  ] as const;
  const before = await agent.page();
  const told = await ask();
  await eventually(async () => {
    const after = await agent.page();
    for (const [pod, role] of ends) {
      const [was, is] = [countsOf(before, pod, role), countsOf(after, pod, role)];
      expect({ queries: minus(is.queries, was.queries), answers: minus(is.answers, was.answers) }, role).toEqual(told);
    }
  });
}

describe.skipIf(lacks('dnsperf'))('dnsperf', () => {
  it('agrees by type and response code', async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'dnsperf-'));
    const file = join(folder.path, 'queries');
    writeFileSync(file, `${ASKED.map((line) => line.join(' ')).join('\n')}\n`);
    await expectCounted(() => {
      const said = pair.a.netns.exec(`dnsperf -s ${pair.addressB.ipv4} -d ${file} -n ${ROUNDS} -q 20 -t 20`);
      expect(said).toMatch(/Queries lost: +0 /);
      const [, codes = ''] = /Response codes: +(.*)/.exec(said) ?? [];
      const answered = [...codes.matchAll(/([A-Z]+) (\d+)/g)].map(([, code = '', count]) => [
        code.toLowerCase(),
        Number(count),
      ]);
      const types = tally(ASKED.map(([, type]) => type.toLowerCase()));
      return {
        queries: Object.fromEntries(Object.entries(types).map(([type, lines]) => [type, lines * ROUNDS])),
        answers: Object.fromEntries(answered),
      };
    });
  });
});

describe.skipIf(lacks('dig'))('dig', () => {
  it.each(['+notcp', '+tcp'])('agrees by type and response code with %s', async (protocol) => {
    await expectCounted(() => {
      const codes = ASKED.map(([name, type]) => {
        const said = pair.a.netns.exec(`dig @${pair.addressB.ipv4} ${name} ${type} ${protocol} +tries=1 +time=20`);
        return /status: ([A-Z]+)/.exec(said)?.[1]?.toLowerCase() ?? 'none';
      });
      return { queries: tally(ASKED.map(([, type]) => type.toLowerCase())), answers: tally(codes) };
    });
  });
});
