import { expect, it } from 'vitest';
import type { WitnessEvent } from './evidence.ts';
import { ownPart } from './own_part.ts';

const LOCAL = '10.1.0.7:40006';
const TRIAL = {
  protocol: 'tcp',
  host: 'db',
  port: 5432,
  stage: 'connect',
  names: [],
  local: LOCAL,
  localIp: '10.1.0.7',
  startTime: '2026-12-01T10:00:10.500Z',
} as const;
const event = (fields: Partial<WitnessEvent>): WitnessEvent => ({
  type: 'packet_drop',
  severity: 'warning',
  time: '2026-12-01T10:00:11.000000001Z',
  node: 'n1',
  namespace: 'shop',
  pod: 'db-0',
  src: LOCAL,
  ...fields,
});
const EARLIER = '2026-12-01T10:00:09.000000000Z';
const LATER = '2026-12-01T10:00:10.900000000Z';

const told = (fields: Partial<WitnessEvent>, isSameClock = true) => {
  const own = ownPart(event(fields), TRIAL, isSameClock);
  return own && [own.least ?? own.count ?? 1, own.count ?? 1];
};

it.each<[string, Partial<WitnessEvent>, readonly [least: number, most: number] | undefined]>([
  ['one packet', {}, [1, 1]],
  ['repetitions of the trial', { count: 3, firstTime: LATER }, [3, 3]],
  ['a packet of the same millisecond', { time: '2026-12-01T10:00:10.500000001Z' }, [1, 1]],
  ['a packet from before', { time: EARLIER }, undefined],
  ['five packets of five connections', { count: 5, firstTime: EARLIER, ports: [1, 2, 3, 4, 40006] }, [1, 1]],
  ['seven packets of five connections', { count: 7, firstTime: EARLIER, ports: [1, 2, 3, 4, 40006] }, [1, 3]],
  ['connections at the same time', { count: 4, firstTime: LATER, ports: [1, 40006] }, [1, 3]],
  ['more ports than are listed', { count: 25, firstTime: EARLIER, ports: [1, 40006], morePorts: 23 }, [1, 1]],
  ['repetitions without ports from before and after', { count: 4, firstTime: EARLIER }, [1, 4]],
])('%s', (_, fields, expected) => {
  expect(told(fields)).toEqual(expected);
});

it('the port is that of the trial, and not that of the last connection', () => {
  const ports = [40001, 40006];
  const [last, server] = ['10.1.0.7:40001', '10.1.0.9:5432'];
  const sent = ownPart(event({ count: 2, ports, src: last, dst: server }), TRIAL, true);
  expect(sent).toMatchObject({ src: LOCAL, dst: server });
  const received = ownPart(event({ count: 2, ports, src: server, dst: last }), TRIAL, true);
  expect(received).toMatchObject({ src: server, dst: LOCAL });
});

it('the times of another clock decide nothing, but the ports do', () => {
  expect(told({ time: EARLIER }, false)).toEqual([1, 1]);
  expect(told({ count: 4, firstTime: EARLIER }, false)).toEqual([4, 4]);
  expect(told({ count: 5, firstTime: EARLIER, ports: [1, 2, 3, 4, 40006] }, false)).toEqual([1, 1]);
});
