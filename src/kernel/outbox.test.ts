import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { FLOW_RECORD, type FlowRecord } from '#api/flows.ts';
import { formatTimeNs } from '#core/kernel_time.ts';
import { asNetnsId, hostPodId } from '#core/netns.ts';
import type { Entity } from '#pods/entity.ts';
import type { RecordBody, RecordRules } from '#probe/records.ts';
import { packetloss } from '#probes/packetloss/packetloss.ts';
import { makeFlows } from '../../test/support/flow_lines.ts';
import { eventually } from '../../test/support/oracle.ts';
import { Outbox } from './outbox.ts';

const KNOWN = asNetnsId(1);
const NEW = asNetnsId(2);
const STRANGE = asNetnsId(3);
const NODE_NETNS = asNetnsId(4);
const SHARED = hostPodId(1);

function entity(id: number, pod: string): Entity {
  return { kind: 'pod', netns: asNetnsId(id), inum: id, namespace: 'shop', pod, uid: '', labels: {} };
}

function setUp(born: boolean) {
  const entities = new Map([
    [KNOWN, entity(1, 'cart')],
    [SHARED, { ...entity(0, 'dns'), netns: SHARED, sharedNetns: NODE_NETNS }],
  ]);
  const sent: (readonly EventRecord[])[] = [];
  const flows: (readonly FlowRecord[])[] = [];
  let refreshes = 0;
  const outbox = new Outbox({
    node: 'n1',
    probes: [packetloss],
    find: (id) => entities.get(id),
    namesOf: (id, ip) => (id === KNOWN && ip === '10.0.0.2' ? ['db.example', 'db.other.example'] : []),
    refresh: async () => {
      refreshes++;
      await wait(5);
      if (born) entities.set(NEW, entity(2, 'newborn'));
    },
    send: (events) => sent.push([...events]),
    sendRecords: (batch) => {
      if (batch.kind === 'flow') flows.push([...batch.values]);
    },
  });
  const publish = outbox.publisher('packetloss');
  const drop = (netns: typeof KNOWN) =>
    publish('packet_drop', {
      timeNs: 1_700_000_000_123_456_789n,
      netns,
      src: '10.0.0.1:1',
      dst: '10.0.0.2:2',
      protocol: 'udp',
      fields: { reason: 'NO_SOCKET', symbol: 'x', length: 1 } as never,
      message: 'm',
    });
  return { outbox, drop, sent, flows, refreshes: () => refreshes };
}

it('sends events that come together in one batch, with their owner and the kernel’s time', async () => {
  const { drop, sent } = setUp(false);
  drop(KNOWN);
  drop(KNOWN);
  await wait(0);
  expect(sent.map((batch) => batch.length)).toEqual([2]);
  expect(sent[0]?.[0]).toEqual({
    time: '2023-11-14T22:13:20.123456789Z',
    probe: 'packetloss',
    type: 'packet_drop',
    severity: 'warning',
    node: 'n1',
    netns: '1',
    namespace: 'shop',
    pod: 'cart',
    src: '10.0.0.1:1',
    dst: '10.0.0.2:2',
    protocol: 'udp',
    reason: 'NO_SOCKET',
    symbol: 'x',
    length: 1,
    message: 'm',
  });
});

it('holds an event of an unseen namespace until the next look', async () => {
  const { drop, sent, refreshes } = setUp(true);
  drop(NEW);
  drop(KNOWN);
  await wait(0);
  expect(sent.flat().map(({ pod }) => pod)).toEqual(['cart']);
  await wait(50);
  expect(sent.flat().map(({ pod }) => pod)).toEqual(['cart', 'newborn']);
  expect(refreshes()).toBe(1);
});

it('never assigns the event of an unknown namespace to the node', async () => {
  const { drop, sent, refreshes } = setUp(false);
  for (let index = 0; index < 1_500; index++) drop(NEW);
  await wait(200);
  const records = sent.flat();
  expect(records).toHaveLength(1_500);
  expect(records.every(({ namespace, pod }) => namespace === null && pod === null)).toBe(true);
  expect(refreshes()).toBeLessThan(4);
});

it('names the events of a namespace, even if an unknown namespace has many', async () => {
  const { drop, sent } = setUp(true);
  for (let index = 0; index < 20_000; index++) drop(STRANGE);
  drop(NEW);
  const records = await eventually(() => {
    expect(sent.flat()).toHaveLength(20_001);
    return sent.flat();
  });
  expect(records.filter(({ pod }) => pod === 'newborn')).toHaveLength(1);
});

describe('records of another kind', () => {
  const RULES: RecordRules = { failed: true, perPod: 100 };
  const { time: _time, probe: _probe, node: _node, netns: _netns, ...rest } = makeFlows(1)[0] as FlowRecord;
  const { namespace: _namespace, pod: _pod, ...fields } = rest;
  const flow = (netns: typeof KNOWN, failed = true): RecordBody => ({
    kind: 'flow',
    timeNs: 1_700_000_000_123_456_789n,
    netns,
    candidate: { failed },
    fields,
  });

  it('have the owner of their namespace, in a batch of their own', async () => {
    const { outbox, drop, sent, flows } = setUp(false);
    const record = outbox.recorder('flow', RULES);
    record(flow(KNOWN));
    drop(KNOWN);
    record(flow(KNOWN));
    await wait(0);
    expect([sent.map(({ length }) => length), flows.map(({ length }) => length)]).toEqual([[1], [2]]);
    expect(FLOW_RECORD.parse(flows[0]?.[0])).toEqual({
      time: '2023-11-14T22:13:20.123456789Z',
      probe: 'flow',
      node: 'n1',
      netns: '1',
      namespace: 'shop',
      pod: 'cart',
      ...fields,
    });
  });

  it('wait for the next look where their namespace is unknown, and take no room of its events', async () => {
    const { outbox, drop, sent, flows, refreshes } = setUp(true);
    const record = outbox.recorder('flow', { ...RULES, perPod: 10_000 });
    for (let index = 0; index < 500; index++) record(flow(NEW));
    for (let index = 0; index < 128; index++) drop(NEW);
    await eventually(() => expect([flows.flat().length, sent.flat().length]).toEqual([500, 128]));
    expect(sent.flat().every(({ pod }) => pod === 'newborn')).toBe(true);
    expect(flows.flat().filter(({ pod }) => pod === 'newborn')).toHaveLength(128);
    expect(flows.flat().filter(({ pod }) => pod === null)).toHaveLength(372);
    expect(refreshes()).toBe(1);
  });

  it('are selected by the rules, limited for each Pod, and counted over all runs of the probe', async () => {
    const { outbox, flows } = setUp(false);
    const first = outbox.recorder('flow', { failed: true, perPod: 10 });
    for (let index = 0; index < 50; index++) first(flow(KNOWN, index % 2 === 0));
    expect(outbox.offered('flow')).toEqual({ selected: 25, limited: 5 });
    const second = outbox.recorder('flow', { failed: false, perPod: 10 });
    for (let index = 0; index < 50; index++) second(flow(KNOWN));
    const third = outbox.recorder('flow', RULES);
    third(flow(KNOWN));
    expect(outbox.offered('flow')).toEqual({ selected: 26, limited: 5 });
    expect(outbox.offered('tcp')).toEqual({ selected: 0, limited: 0 });
    outbox.recorder('tcp', undefined)(flow(KNOWN));
    await wait(0);
    expect(flows.flat()).toHaveLength(21);
  });
});

it('writes times to the nanosecond', () => {
  expect(formatTimeNs(1_000_000_000n)).toBe('1970-01-01T00:00:01.000000000Z');
  expect(formatTimeNs(999n)).toBe('1970-01-01T00:00:00.000000999Z');
});

it('names the node’s namespace in an event of a Pod that shares it', async () => {
  const { drop, sent } = setUp(false);
  drop(SHARED);
  await wait(0);
  expect(sent.flat()).toMatchObject([{ netns: '4', namespace: 'shop', pod: 'dns' }]);
});
