import { expect, it } from 'vitest';
import { FLOW_RECORD, type FlowRecord } from '#api/flows.ts';
import { makeFlows } from '../../test/support/flow_lines.ts';
import { FLOW_KIND } from './flow_kind.ts';
import { withFlowPeer } from './flow_peer.ts';

const DB = { kind: 'pod', namespace: 'shop', name: 'db-0', workload: 'db', ip: '10.0.0.7' } as const;
const LOOKUP = {
  find: (ip: string) => (ip === DB.ip ? DB : undefined),
  identify: (ip: string) =>
    ip === DB.ip
      ? ({ kind: 'workload', namespace: 'shop', name: 'db', zone: 'b', pod: 'db-0' } as const)
      : ({ kind: 'unknown', namespace: '', name: '' } as const),
};

it.each([
  ['client', { src: '10.0.0.1', dst: DB.ip }, DB],
  ['server', { src: DB.ip, dst: '10.0.0.1' }, DB],
  ['client', { src: DB.ip, dst: '10.0.0.1' }, undefined],
] as const)('a %s with %j has the peer %j', (role, ends, peer) => {
  const [flow] = makeFlows(1, { role, ...ends }) as [FlowRecord];
  const named = FLOW_RECORD.parse(withFlowPeer(flow, LOOKUP, 'a'));
  expect(named.peer).toEqual(peer);
  expect([named.zone, named.peerZone]).toEqual(['a', peer && 'b']);
  const { metadata } = FLOW_KIND.toRecord(named);
  expect([metadata['peer_kind'], metadata['peer_workload']]).toEqual([peer?.kind, peer?.workload]);
});

it('a record names the Service that stands for a Pod', () => {
  const pod = { kind: 'pod', namespace: 'shop', name: 'db-0', service: 'db', ip: DB.ip } as const;
  const [flow] = makeFlows(1, { role: 'client', dst: DB.ip }) as [FlowRecord];
  const named = FLOW_RECORD.parse(withFlowPeer(flow, { ...LOOKUP, find: () => pod }, 'a'));
  expect(FLOW_KIND.toRecord(named).metadata).toMatchObject({ peer_name: 'db-0', peer_service: 'db' });
});

it('a record without a known zone has none', () => {
  const [flow] = makeFlows(1) as [FlowRecord];
  expect(
    withFlowPeer(flow, { ...LOOKUP, find: () => undefined, identify: () => LOOKUP.identify('') }, undefined),
  ).toEqual(flow);
});
