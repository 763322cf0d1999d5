import type { FlowRecord } from '#api/flows.ts';
import type { LaneRecord } from '#delivery/record.ts';
import { FLOW_KIND } from '#events/flow_kind.ts';

/**
 * Returns records of refused connections. Each is a nanosecond later than the previous one and has a different port.
 */
export function makeFlows(count: number, more: Partial<FlowRecord> = {}, first = 0): FlowRecord[] {
  return Array.from({ length: count }, (_, index) => ({
    time: `2026-01-01T00:00:00.${String(first + index).padStart(9, '0')}Z`,
    probe: 'flow',
    node: 'n',
    netns: '1',
    namespace: 'shop',
    pod: 'cart',
    src: '10.0.0.1',
    srcPort: 1_024 + ((first + index) % 60_000),
    dst: '10.0.0.7',
    dstPort: 5_432,
    role: 'client',
    state: 'SYN_SENT',
    failed: true,
    cause: 'refused',
    end: null,
    sentBytes: 0,
    receivedBytes: 0,
    sentSegments: 1,
    receivedSegments: 1,
    retransmittedSegments: 0,
    retransmittedBytes: 0,
    connectSeconds: 0.001,
    roundTripSeconds: null,
    minRoundTripSeconds: null,
    busySeconds: 0,
    receiverLimitedSeconds: 0,
    sendBufferLimitedSeconds: 0,
    startedAt: null,
    message: `flow ${first + index}`,
    ...more,
  }));
}

export function makeFlowLines(count: number, more: Partial<FlowRecord> = {}, first = 0): LaneRecord[] {
  return makeFlows(count, more, first).map(FLOW_KIND.toRecord);
}
