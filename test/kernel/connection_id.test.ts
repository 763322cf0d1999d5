import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { Lane } from '#agent/lane.ts';
import type { EventRecord } from '#api/events.ts';
import { Ledger } from '#delivery/ledger.ts';
import { RecordBus } from '#events/bus.ts';
import { EVENT_KIND } from '#events/event_kind.ts';
import { INCIDENT_KIND } from '#events/incident_kind.ts';
import { PROBES } from '#probes/index.ts';
import { DEFAULT_PORT_RANGE } from '#sources/procfs/port_range.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { RoutedPair } from '../support/routed_pair.ts';
import { FAMILIES, type Family, playScene } from '../support/scene.ts';

/** Address of the Service, which the router translates. */
const SERVICE = { ipv4: '10.9.3.1', ipv6: 'fd09:3::1' };
const SERVICE_PORT = 80;
const PORTS = { direct: 7_480, service: 7_481, masqueraded: 7_482, masqueradedService: 7_483, narrow: 7_484 };

const resources = new AsyncDisposableStack();
let pair: RoutedPair;
let agent: TestKernel;

beforeAll(async () => {
  pair = resources.use(new RoutedPair());
  const families = { ipv4: 'ip', ipv6: 'ip6' };
  pair.router.exec('nft add table inet nat');
  pair.router.exec('nft add chain inet nat pre { type nat hook prerouting priority -100; }');
  pair.router.exec('nft add chain inet nat post { type nat hook postrouting priority 100; }');
  for (const family of FAMILIES) {
    const to = family === 'ipv4' ? pair.addressB.ipv4 : `[${pair.addressB.ipv6}]`;
    const name = families[family];
    for (const [port, target] of [
      [SERVICE_PORT, PORTS.service],
      [SERVICE_PORT + 1, PORTS.masqueradedService],
    ]) {
      pair.router.exec(
        `nft add rule inet nat pre ${name} daddr ${SERVICE[family]} tcp dport ${port} dnat ${name} to ${to}:${target}`,
      );
    }
  }
  pair.router.exec(
    `nft add rule inet nat post tcp dport { ${PORTS.masqueraded}, ${PORTS.masqueradedService} } masquerade`,
  );
  agent = resources.use(await TestKernel.open(only({ packetloss: true, tcpretrans: true })));
});

afterAll(() => resources.disposeAsync());

beforeEach(() => {
  agent.events.length = 0;
});

/** Returns the events of a namespace with the IDs that the agent adds to them. */
function eventsIn(pod: string, is: (event: EventRecord) => boolean): EventRecord[] {
  const bus = new RecordBus(EVENT_KIND);
  const found: EventRecord[] = [];
  bus.follow((records) => found.push(...records.map(({ value }) => value)));
  using lane = new Lane({
    node: 'n',
    probes: PROBES,
    ephemeral: DEFAULT_PORT_RANGE,
    ledger: new Ledger(),
    bus,
    incidents: new RecordBus(INCIDENT_KIND),
    peers: () => undefined,
    deliver: () => undefined,
  });
  lane.configure({ limit: 1_000, foldMs: 0, foldBy: 'service', history: 0 });
  lane.receive(agent.events.filter((event) => event.pod === pod && is(event)));
  return found;
}

/**
 * A client sends while the server's node drops its segments, then while the router does, and then the router drops the
 * answer of the server.
 */
function lossesOf(router: string, address: string, port: number, target: number): string {
  return `
ROUTER = '${router}'
server = listen(B, ${target})
client = sock(A)
client.connect(('${address}', ${port}))
peer, _ = server.accept()
client.send(b'x'); peer.recv(1)
drop(B, 'tcp dport ${target} drop'); client.send(b'y'); time.sleep(0.5); undrop(B); peer.recv(1)
FORWARD = 'type filter hook forward priority 0'
drop(ROUTER, 'tcp dport ${target} drop', FORWARD); client.send(b'y'); time.sleep(0.5); undrop(ROUTER); peer.recv(1)
drop(ROUTER, 'tcp sport ${target} drop', FORWARD); peer.send(b'z'); time.sleep(0.5); undrop(ROUTER); client.recv(1)
for s in (client, peer, server): s.close()
`;
}

const DROPPED = (event: EventRecord) => event.type === 'packet_drop' && event['reason'] === 'NETFILTER_DROP';
const SENT_AGAIN = (event: EventRecord) => event.type === 'tcp_retransmit';

interface Seen {
  /** Drops at the server, which sees no translation but the result. */
  readonly server: readonly EventRecord[];
  readonly router: readonly EventRecord[];
  /** Retransmissions of the client, whose socket has the address of the Service. */
  readonly client: readonly EventRecord[];
}

async function lose(family: Family, address: string, port: number, target: number): Promise<Seen> {
  await playScene(pair, family, lossesOf(pair.router.name, address, port, target));
  return eventually(() => {
    const server = eventsIn(pair.b.netns.name, DROPPED);
    const router = eventsIn(pair.router.name, DROPPED);
    const client = eventsIn(pair.a.netns.name, SENT_AGAIN);
    expect(server).not.toEqual([]);
    expect(client).not.toEqual([]);
    expect(new Set(router.map(({ sentBy }) => sentBy))).toEqual(new Set(['client', 'server']));
    return { server, router, client };
  });
}

const idsOf = (events: readonly EventRecord[]) => [...new Set(events.map(({ connectionId }) => connectionId))];

it.each(FAMILIES)('both ends and the router have the same ID, over %s', async (family) => {
  const address = pair.addressB[family];
  const { server, router, client } = await lose(family, address, PORTS.direct, PORTS.direct);
  expect(idsOf([...server, ...router, ...client])).toEqual([expect.stringMatching(/^.{8}$/)]);
  expect(router[0]).not.toHaveProperty('connectionService');
  expect(router[0]).not.toHaveProperty('connectionSource');
});

it.each(FAMILIES)('the router and the server have the same ID through DNAT, over %s', async (family) => {
  const { server, router, client } = await lose(family, SERVICE[family], SERVICE_PORT, PORTS.service);
  expect(idsOf([...server, ...router])).toHaveLength(1);
  const service = expect.stringMatching(new RegExp(`[.:]1\\]?:${SERVICE_PORT}$`));
  expect(router[0]).toMatchObject({ connectionService: service, connectionServer: server[0]?.dst });
  // The socket of the client has only the address of the Service.
  expect(idsOf(client)).toHaveLength(1);
  expect(idsOf(client)).not.toEqual(idsOf(server));
});

it.each(FAMILIES)('the router and the server have the same ID through masquerading, over %s', async (family) => {
  const { server, router } = await lose(family, pair.addressB[family], PORTS.masqueraded, PORTS.masqueraded);
  expect(idsOf([...server, ...router])).toHaveLength(1);
  expect(router[0]).toMatchObject({ connectionSource: server[0]?.src });
  expect(router[0]?.['connectionClient']).not.toBe(server[0]?.src);
});

it.each(FAMILIES)('the router and the server have the same ID through both, over %s', async (family) => {
  const { masqueradedService } = PORTS;
  const { server, router } = await lose(family, SERVICE[family], SERVICE_PORT + 1, masqueradedService);
  expect(idsOf([...server, ...router])).toHaveLength(1);
});

it('an ICMP error has the ID of the connection that it is about', async () => {
  const { narrow } = PORTS;
  await playScene(
    pair,
    'ipv4',
    `
ROUTER = '${pair.router.name}'
server, client, peer = connected(${narrow})
drop(ROUTER, 'icmp type destination-unreachable drop', 'type filter hook output priority 0')
client.sendall(b'x' * 30000); time.sleep(0.8)
undrop(ROUTER)
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); client.close()
`,
  );
  await eventually(() => {
    const [error] = eventsIn(pair.router.name, (event) => DROPPED(event) && event.protocol === 'icmp');
    const [segment] = eventsIn(pair.router.name, ({ reason }) => reason === 'PKT_TOO_BIG');
    const [again] = eventsIn(pair.a.netns.name, SENT_AGAIN);
    expect(error).toMatchObject({ connectionProtocol: 'tcp', connectionId: again?.connectionId });
    expect(segment?.connectionId).toBe(again?.connectionId);
    expect(again?.connectionId).toMatch(/^.{8}$/);
  });
});
