import { deepEqual, equal, ok } from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { addCounters } from '#core/counter.ts';
import { DNS_EDGE_METRICS, dns } from '#probes/dns/dns.ts';
import { type Ask, type AskStyle, askDns, DnsServer, type DnsTraffic, sendJunk } from '../support/dns_traffic.ts';
import { type Exposition, sampleValue } from '../support/exposition.ts';
import { eventually } from '../support/oracle.ts';
import { defineScenario, type ScenarioChecks, type ScenarioContext } from '../support/scenario.ts';

const { queries, answers, unanswered, silentServers, truncated, unknown, waiting, duration } = dns.metrics;

type Role = 'client' | 'server';

/** Counts of a Pod on a page. */
interface Shown extends DnsTraffic {
  readonly unanswered: number;
  readonly unknown: Readonly<Record<string, number>>;
  readonly waiting: number;
  readonly durations: number;
}

function samplesOf(page: Exposition, name: string, pod: string, role: Role) {
  return (page.named.get(name) ?? []).filter(({ labels }) => labels['pod'] === pod && labels['role'] === role);
}

function on(page: Exposition, pod: string, role: Role): Shown {
  const by = (name: string, label: string) =>
    Object.fromEntries(samplesOf(page, name, pod, role).map(({ labels, value }) => [labels[label], Number(value)]));
  const sum = (name: string) =>
    samplesOf(page, name, pod, role).reduce((total, { value }) => Number(addCounters(total, Number(value))), 0);
  return {
    queries: by(queries.name, 'qtype'),
    answers: by(answers.name, 'rcode'),
    truncated: sum(truncated.name),
    unanswered: sum(unanswered.name),
    unknown: by(unknown.name, 'cause'),
    waiting: sum(waiting.name),
    durations: sum(`${duration.name}_count`),
  };
}

function minus(a: Readonly<Record<string, number>>, b: Readonly<Record<string, number>>): Record<string, number> {
  const differences = Object.entries(a).map(([key, value]) => [key, value - (b[key] ?? 0)] as const);
  return Object.fromEntries(differences.filter(([, difference]) => difference !== 0));
}

/** Returns what has been added since an earlier page. */
function since(before: Shown, after: Shown): Shown {
  return {
    queries: minus(after.queries, before.queries),
    answers: minus(after.answers, before.answers),
    truncated: after.truncated - before.truncated,
    unanswered: after.unanswered - before.unanswered,
    unknown: minus(after.unknown, before.unknown),
    waiting: after.waiting,
    durations: after.durations - before.durations,
  };
}

function total(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** Returns the counts of both ends of what happens during an action. */
async function during(
  { pair: { a, b }, agent }: ScenarioContext,
  action: () => Promise<void>,
): Promise<{ client: Shown; server: Shown }> {
  const before = await agent.page();
  await action();
  const after = await agent.page();
  return {
    client: since(on(before, a.netns.name, 'client'), on(after, a.netns.name, 'client')),
    server: since(on(before, b.netns.name, 'server'), on(after, b.netns.name, 'server')),
  };
}

/** Returns the events of both Pods. Other processes of the machine may use DNS as well. */
function eventsOf({ pair: { a, b }, agent }: ScenarioContext) {
  return agent.events.filter(({ pod }) => pod === a.netns.name || pod === b.netns.name);
}

const ORDERLY = { unanswered: 0, unknown: {}, waiting: 0 };

/** Asks a server in b from a, and checks that both ends are counted as their processes count them. */
async function expectAsked(
  context: ScenarioContext,
  family: 'ipv4' | 'ipv6',
  protocol: 'udp' | 'tcp',
  style: AskStyle,
  asks: readonly Ask[],
  accepts: 'plain' | 'deferred' = 'plain',
): Promise<void> {
  const { pair, agent } = context;
  const to = pair.addressB[family];
  let counted: DnsTraffic | undefined;
  agent.events.length = 0;
  const { client, server } = await during(context, async () => {
    await using started = await DnsServer.start(pair.b.netns, to, accepts);
    counted = askDns(pair.a.netns, to, protocol, style, asks);
    deepEqual(await started.end(), counted);
  });
  const expected = { ...counted, ...ORDERLY, durations: total(counted?.answers ?? {}) };
  deepEqual(client, expected);
  deepEqual(server, expected);
  deepEqual(eventsOf(context), []);
}

const RCODES = [
  'noerror',
  'formerr',
  'servfail',
  'nxdomain',
  'notimp',
  'refused',
  'yxdomain',
  'yxrrset',
  'nxrrset',
  'notauth',
  'notzone',
  'other',
];
const TYPES = ['a', 'aaaa', 'cname', 'https', 'mx', 'ns', 'ptr', 'soa', 'srv', 'txt', 'other'];

/** Each response code and type, with a different number of queries for each combination of the first ones. */
const EACH: readonly Ask[] = [
  ...RCODES.map((rcode, index): Ask => [`${rcode}.example.com`, 'a', index + 1]),
  ...TYPES.map((type, index): Ask => ['noerror.Example.COM', type, index + 2]),
  ['truncated.example.com', 'txt', 4],
  ['large.example.com', 'txt', 3],
  ['bare.example.com', 'a', 2],
  [`noerror.${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(40)}`, 'a', 3],
  [`noerror.${Array.from({ length: 32 }, (_, nibble) => (nibble % 16).toString(16)).join('.')}.ip6.arpa`, 'ptr', 2],
];

/** Checks that run only if dnsmasq is installed. */
const DNSMASQ: ScenarioChecks = {
  'counts the answers of dnsmasq as the client gets them': async (context) => {
    const { pair } = context;
    const records = ['--host-record=noerror.test,10.1.2.3,fd00::3', '--local=/test/', '--txt-record=noerror.test,text'];
    const own = ['--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--pid-file='];
    const line = ['netns', 'exec', pair.b.netns.name, '/usr/sbin/dnsmasq', ...own, '--user=root', ...records];
    const child = spawn('ip', line, { stdio: 'ignore' });
    const gone = new Promise((resolve) => child.once('exit', resolve));
    try {
      await eventually(() => ok(pair.b.netns.exec('ss -Hlun sport = :53').includes(':53')));
      for (const [family, protocol, style] of [
        ['ipv4', 'udp', 'each'],
        ['ipv6', 'tcp', 'pipelined'],
      ] as const) {
        let counted: DnsTraffic | undefined;
        const { client, server } = await during(context, async () => {
          counted = askDns(pair.a.netns, pair.addressB[family], protocol, style, [
            ['noerror.test', 'a', 4],
            ['noerror.test', 'aaaa', 3],
            ['noerror.test', 'txt', 2],
            ['nxdomain.test', 'a', 5],
            ['refused.example.com', 'a', 6],
          ]);
        });
        deepEqual(counted?.answers, { noerror: 9, nxdomain: 5, refused: 6 });
        for (const end of [client, server]) deepEqual([end.queries, end.answers], [counted?.queries, counted?.answers]);
      }
    } finally {
      child.kill('SIGKILL');
      await gone;
    }
  },
};

export default defineScenario(dns, {
  beside: { flow: DNS_EDGE_METRICS },
  options: { timeout: '500ms', storm: 50 },
  cause: async ({ pair: { a, b, addressA, addressB } }) => {
    askDns(a.netns, addressB.ipv4, 'udp', 'unconnected', [['silent.example.com', 'a', 3]]);
    askDns(b.netns, addressA.ipv4, 'udp', 'unconnected', [['silent.example.com', 'a', 3]]);
  },
  checks: {
    'counts queries by type and answers by code at both ends, as their processes do': async (context) => {
      await expectAsked(context, 'ipv4', 'udp', 'each', EACH);
      await expectAsked(context, 'ipv6', 'udp', 'connected', EACH);
      await expectAsked(context, 'ipv4', 'udp', 'unconnected', EACH);
    },
    'counts the same over TCP: one at a time, several in a segment, and byte by byte': async (context) => {
      await expectAsked(context, 'ipv4', 'tcp', 'single', EACH);
      await expectAsked(context, 'ipv6', 'tcp', 'pipelined', EACH);
      await expectAsked(context, 'ipv4', 'tcp', 'pieces', EACH.slice(0, 6));
    },
    'counts queries that arrive before their connection is accepted': async (context) => {
      await expectAsked(context, 'ipv4', 'tcp', 'single', EACH.slice(0, 3), 'deferred');
      await expectAsked(context, 'ipv6', 'tcp', 'pipelined', EACH, 'deferred');
    },
    'counts every message of a connection that loses and reorders segments': async (context) => {
      const { pair } = context;
      // Without offloads, so that a lost segment is one segment.
      pair.a.netns.ip(`link set ${pair.deviceA} gso_max_segs 1`);
      pair.b.netns.ip(`link set ${pair.deviceB} gso_max_segs 1`);
      const drop = (port: string) =>
        `inet lossy in meta l4proto tcp ${port} 53 tcp flags psh,ack / psh,ack numgen inc mod 5 == 0 drop`;
      for (const [host, port] of [
        [pair.a, 'tcp sport'],
        [pair.b, 'tcp dport'],
      ] as const) {
        host.netns.exec('nft add table inet lossy');
        host.netns.exec('nft add chain inet lossy in { type filter hook input priority 0 ; }');
        host.netns.exec(`nft add rule ${drop(port)}`);
      }
      try {
        await expectAsked(context, 'ipv4', 'tcp', 'pipelined', [
          ['large.example.com', 'txt', 12],
          ['nxdomain.example.com', 'a', 40],
          ['large.example.com', 'aaaa', 15],
        ]);
        await expectAsked(context, 'ipv6', 'tcp', 'single', EACH.slice(0, 5));
      } finally {
        for (const { netns } of [pair.a, pair.b]) netns.exec('nft delete table inet lossy');
      }
    },
    'counts a query that is dropped on the path at the client only': async (context) => {
      const { pair, agent } = context;
      pair.b.netns.exec('nft add table inet closed');
      pair.b.netns.exec('nft add chain inet closed in { type filter hook input priority 0 ; }');
      pair.b.netns.exec('nft add rule inet closed in udp dport 53 drop');
      const { client, server } = await during(context, async () => {
        askDns(pair.a.netns, pair.addressB.ipv6, 'udp', 'each', [['silent.example.com', 'mx', 5]]);
        await eventually(async () => equal(on(await agent.page(), pair.a.netns.name, 'client').waiting, 0));
      });
      pair.b.netns.exec('nft delete table inet closed');
      deepEqual([client.queries, client.answers, client.unanswered, client.unknown], [{ mx: 5 }, {}, 5, {}]);
      const pod = pair.a.netns.name;
      equal(sampleValue(await agent.page(), silentServers.name, { pod, server: pair.addressB.ipv6 }), 5);
      deepEqual(server.queries, {});
    },
    ...(existsSync('/usr/sbin/dnsmasq') ? DNSMASQ : {}),
    'keeps two Pods apart': async ({ pair: { a, b, addressA, addressB }, agent }) => {
      const before = await agent.page();
      await using inB = await DnsServer.start(b.netns, addressB.ipv4);
      await using inA = await DnsServer.start(a.netns, addressA.ipv4);
      const fromA = askDns(a.netns, addressB.ipv4, 'udp', 'each', [['noerror.a', 'aaaa', 7]]);
      const fromB = askDns(b.netns, addressA.ipv4, 'udp', 'each', [['refused.b', 'srv', 11]]);
      await Promise.all([inA.end(), inB.end()]);
      const after = await agent.page();
      const changes = (pod: string, role: Role) => since(on(before, pod, role), on(after, pod, role));
      for (const [client, server, counted] of [
        [a, b, fromA],
        [b, a, fromB],
      ] as const) {
        deepEqual(changes(client.netns.name, 'client').queries, counted.queries);
        deepEqual(changes(server.netns.name, 'server').answers, counted.answers);
      }
    },
    'reports queries without an answer, at both ends': async (context) => {
      const { pair, agent } = context;
      agent.events.length = 0;
      const { client, server } = await during(context, async () => {
        await using started = await DnsServer.start(pair.b.netns, pair.addressB.ipv4);
        askDns(pair.a.netns, pair.addressB.ipv4, 'udp', 'unconnected', [
          ['Silent.Example.com', 'aaaa', 1],
          ['noerror.example.com', 'a', 2],
        ]);
        await started.end();
        await eventually(async () => equal(on(await agent.page(), pair.a.netns.name, 'client').waiting, 0));
      });
      for (const end of [client, server])
        deepEqual([total(end.queries), total(end.answers), end.unanswered], [3, 2, 1]);
      await eventually(() => equal(eventsOf(context).length, 2));
      const asked = { type: 'dns_unanswered', name: 'silent.example.com', qtype: 'aaaa', queries: 1, protocol: 'udp' };
      for (const [pod, more] of [
        [pair.a, { role: 'client', server: pair.addressB.ipv4, dst: `${pair.addressB.ipv4}:53` }],
        [pair.b, { role: 'server', server: pair.addressA.ipv4 }],
      ] as const) {
        const event = eventsOf(context).find((one) => one.pod === pod.netns.name);
        deepEqual({ ...event, ...asked, ...more }, event);
      }
    },
    'follows only so many queries of a Pod at a time, and names the others': async (context) => {
      const { pair, agent } = context;
      const asked = 4_000;
      const { client } = await during(context, async () => {
        askDns(pair.a.netns, pair.addressB.ipv4, 'udp', 'each', [['silent.example.com', 'a', asked]]);
        await eventually(async () => equal(on(await agent.page(), pair.a.netns.name, 'client').waiting, 0));
      });
      equal(total(client.queries), asked);
      equal(client.unanswered + (client.unknown['untracked'] ?? 0), asked);
      const other = askDns(pair.b.netns, pair.addressA.ipv4, 'udp', 'each', [['silent.example.com', 'mx', 2]]);
      equal(on(await agent.page(), pair.b.netns.name, 'client').queries['mx'], other.queries['mx']);
      await eventually(async () => equal(on(await agent.page(), pair.b.netns.name, 'client').waiting, 0));
    },
    'counts an answer with another name, and a second answer, as unknown': async (context) => {
      const { pair, agent } = context;
      const { client, server } = await during(context, async () => {
        await using started = await DnsServer.start(pair.b.netns, pair.addressB.ipv6);
        askDns(pair.a.netns, pair.addressB.ipv6, 'udp', 'each', [
          ['wrong.example.com', 'a', 3],
          ['twice.example.com', 'a', 2],
        ]);
        await started.end();
        await eventually(async () => equal(on(await agent.page(), pair.a.netns.name, 'client').waiting, 0));
      });
      for (const end of [client, server]) {
        deepEqual([total(end.queries), end.answers, end.unanswered], [5, { noerror: 2 }, 3]);
        deepEqual(end.unknown, { mismatched: 3, unasked: 2 });
      }
    },
    'counts packets that are no DNS as malformed, and nothing else': async (context) => {
      const { pair } = context;
      for (const family of ['ipv4', 'ipv6'] as const) {
        const { client, server } = await during(context, async () => {
          await using started = await DnsServer.start(pair.b.netns, pair.addressB[family]);
          sendJunk(pair.a.netns, pair.addressB[family], 400, 1);
          await started.end();
        });
        for (const end of [client, server]) {
          deepEqual(end, {
            queries: {},
            answers: {},
            truncated: 0,
            ...ORDERLY,
            unknown: { malformed: 400 },
            durations: 0,
          });
        }
      }
    },
    'tells of a storm of NXDOMAIN, and of the name that a search list completes': async (context) => {
      const { pair, agent } = context;
      agent.events.length = 0;
      const list = ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local', 'eu.example'];
      const names = list.map((suffix) => `nxdomain.db.${suffix}`);
      await using started = await DnsServer.start(pair.a.netns, pair.addressA.ipv4);
      await eventually(async () => {
        askDns(
          pair.b.netns,
          pair.addressA.ipv4,
          'udp',
          'each',
          names.map((name): Ask => [name, 'a', 15]),
        );
        ok(eventsOf(context).length > 0);
      });
      await started.end();
      const [storm, ...others] = eventsOf(context);
      deepEqual(others, []);
      equal(storm?.pod, pair.b.netns.name);
      deepEqual(
        { ...storm, names: [...((storm?.['names'] as string[] | undefined) ?? [])].sort() },
        { ...storm, names: names.sort(), amplified: 'nxdomain.db', askedAs: names.length },
      );
    },
  },
});
