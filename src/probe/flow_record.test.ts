import { expect, it } from 'vitest';
import { FLOW_RECORD } from '#api/flows.ts';
import { FLOW_ENDS, FLOW_FAILURES, FLOW_ROLES } from '#api/words.ts';
import { asNetnsId } from '#core/netns.ts';
import { type EndedConnection, flowRecord } from './flow_record.ts';

const REFUSED: EndedConnection = {
  timeNs: 1_700_000_000_123_456_789n,
  netns: asNetnsId(7),
  role: 'client',
  local: '10.0.0.1',
  localPort: 40_000,
  peer: 'fd00::7',
  peerPort: 5_432,
  state: 'SYN_SENT',
  outcome: { cause: 'refused' },
  sentBytes: 0,
  receivedBytes: 0,
  sentSegments: 1,
  receivedSegments: 1,
  retransmittedSegments: 0,
  retransmittedBytes: 0,
  connectSeconds: 0.25,
  roundTripSeconds: null,
  minRoundTripSeconds: null,
  busySeconds: 0,
  receiverLimitedSeconds: 0,
  sendBufferLimitedSeconds: 0,
  startedNs: null,
};

const CLOSED: EndedConnection = {
  ...REFUSED,
  state: 'LAST_ACK',
  outcome: { end: 'closed' },
  sentBytes: 2n ** 40n,
  receivedBytes: 17,
  sentSegments: 9,
  retransmittedSegments: 2,
  startedNs: 1_699_999_999_000_000_001n,
};

it('a failed connection: time, ends, cause, and a sentence', () => {
  expect(flowRecord(REFUSED)).toMatchObject({
    kind: 'flow',
    timeNs: REFUSED.timeNs,
    netns: REFUSED.netns,
    candidate: { failed: true, tookMs: 250 },
    fields: {
      src: '10.0.0.1',
      srcPort: 40_000,
      dst: 'fd00::7',
      dstPort: 5_432,
      cause: 'refused',
      end: null,
      startedAt: null,
      message: 'A connection from 10.0.0.1:40000 to [fd00::7]:5432 failed after 0.250 s: the peer refused it.',
    },
  });
});

it('the source is always the client, and the destination the server', () => {
  const { fields } = flowRecord({ ...CLOSED, role: 'server', local: '10.0.0.1', localPort: 80 });
  expect(fields).toMatchObject({ role: 'server', src: 'fd00::7', srcPort: 5_432, dst: '10.0.0.1', dstPort: 80 });
});

it('a closed connection: bytes, retransmitted segments, and its start where that was noted', () => {
  const { fields, candidate } = flowRecord(CLOSED);
  expect(candidate).toEqual({ failed: false, tookMs: 250 });
  expect(fields).toMatchObject({
    cause: null,
    end: 'closed',
    sentBytes: 2 ** 40,
    startedAt: '2023-11-14T22:13:19.000000001Z',
    message:
      'A connection from 10.0.0.1:40000 to [fd00::7]:5432 was closed after 1099511627776 bytes sent and 17 received. 2 of 9 segments were retransmitted.',
  });
});

it('has no port where the kernel found none, and no duration where that is unknown', () => {
  const { fields, candidate } = flowRecord({
    ...REFUSED,
    localPort: 0,
    outcome: { cause: 'no_port' },
    connectSeconds: null,
  });
  expect(candidate).toEqual({ failed: true, tookMs: undefined });
  expect(fields).toMatchObject({
    srcPort: null,
    message: 'A connection from 10.0.0.1 to [fd00::7]:5432 failed: no local port was free.',
  });
});

it('connections that were never established, timed out or were reset by the peer have failed', () => {
  const failed = FLOW_ENDS.filter((end) => flowRecord({ ...CLOSED, outcome: { end } }).candidate.failed);
  expect(failed).toEqual(['reset_by_peer', 'timeout', 'other']);
  expect(FLOW_FAILURES.every((cause) => flowRecord({ ...REFUSED, outcome: { cause } }).candidate.failed)).toBe(true);
});

it('every outcome in every role is a record of the API, with a sentence of its own', () => {
  const outcomes = [...FLOW_ENDS.map((end) => ({ end })), ...FLOW_FAILURES.map((cause) => ({ cause }))];
  const owner = {
    time: '2023-11-14T22:13:20.123456789Z',
    probe: 'flow',
    node: 'n',
    netns: '7',
    namespace: '',
    pod: '',
  };
  const sentences = FLOW_ROLES.flatMap((role) =>
    outcomes.map((outcome) => {
      const { fields } = flowRecord({ ...CLOSED, role, outcome });
      return FLOW_RECORD.parse({ ...owner, ...fields }).message;
    }),
  );
  expect(new Set(sentences).size).toBe(sentences.length);
});
