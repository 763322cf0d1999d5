import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type EdgeCounts, NO_COUNTS } from '#api/flow_rates.ts';
import { FLOW_FAILURES } from '#api/words.ts';
import { causeOf, failedShare, isFarAddress, lostShare, troublesOf, worstOf } from './verdict.ts';

function counts(more: Partial<EdgeCounts> = {}): EdgeCounts {
  const failed = more.failed ?? {};
  const failures = Object.values(failed).reduce((sum, count) => sum + count, 0);
  const bytes = (more.sentBytes ?? 0) + (more.receivedBytes ?? 0);
  return { ...NO_COUNTS, failures, bytes, ...more };
}

const measured = (seconds: number) => ({ roundTrips: { count: 2, sumSeconds: 2 * seconds } });
const of = (of: EdgeCounts, open = 0, isFar = false) => {
  const verdict = worstOf(troublesOf(of, open, isFar));
  return verdict === undefined ? undefined : [verdict.kind, verdict.grade, verdict.text, verdict.measure];
};

describe('failed connects', () => {
  it('are named by their most frequent cause', () => {
    expect(of(counts({ failed: { refused: 9, timeout: 1 } }))).toEqual(['refused', 'alert', '100 % refused', 'failed']);
    expect(of(counts({ connections: 8, failed: { timeout: 2, given_up: 10 } }))).toEqual([
      'failed',
      'notice',
      '60 % given up',
      'failed',
    ]);
    expect(of(counts({ failed: { timeout: 3 } }))).toEqual(['timeout', 'alert', '100 % timed out', 'failed']);
  });

  it('are bad only if there are several, and trouble only if they are a notable share', () => {
    expect(of(counts({ failed: { refused: 2 } }))?.[1]).toBe('notice');
    expect(of(counts({ connections: 17, failed: { refused: 3 } }))?.[1]).toBe('notice');
    expect(of(counts({ connections: 12, failed: { refused: 3 } }))?.[1]).toBe('alert');
    expect(of(counts({ connections: 97, failed: { refused: 3 } }))).toBeUndefined();
  });

  it('without a response are bad, however the attempts ended, and their SYNs do not count as loss', () => {
    const again = { sentSegments: 12, retransmittedSegments: 8 };
    expect(of(counts({ ...again, failed: { given_up: 4 } }), 1)).toEqual([
      'timeout',
      'alert',
      '100 % without a response',
      'failed',
    ]);
    expect(of(counts({ ...again, failed: { given_up: 4 }, sentBytes: 1, connections: 1 }))?.[0]).toBe('lossy');
    expect(of(counts({ ...again, failed: { refused: 9 } }))?.[2]).toBe('100 % refused');
    expect(of(counts({ failed: { given_up: 4 } }))).toEqual(['failed', 'notice', '100 % given up', 'failed']);
  });

  it('without a response are known from events if an older connection transfers data', () => {
    const given = counts({ failed: { given_up: 4 }, sentBytes: 9 });
    const kinds = (one: EdgeCounts, unanswered: number) =>
      troublesOf(one, 1, false, unanswered).map(({ kind }) => kind);
    expect([kinds(given, 0), kinds(given, 2)]).toEqual([['failed'], ['timeout']]);
    expect(kinds(counts({ failed: { given_up: 4 }, sentBytes: 9, connections: 1 }), 2)).toEqual(['failed']);
  });

  it('of a cause that this page does not know are shown as well', () => {
    expect(of(counts({ failed: { denied_by_moon: 5 } }))).toEqual(['failed', 'alert', '100 % failed', 'failed']);
  });

  it('have words and an explanation for every cause', () => {
    for (const cause of FLOW_FAILURES) {
      expect(causeOf(cause).words, cause).not.toBe('');
      expect(causeOf(cause).explanation, cause).toMatch(/^[A-Z].*\.$/);
    }
  });
});

describe('attempts without a response', () => {
  it('are trouble long before they fail', () => {
    expect(of(counts({ sentSegments: 3, retransmittedSegments: 2 }), 1)).toEqual([
      'timeout',
      'alert',
      'no response',
      'retransmitted',
    ]);
    expect(of(counts({ sentSegments: 2, retransmittedSegments: 1 }), 1)?.[1]).toBe('notice');
  });

  it('are none if something was transferred, or nothing is open', () => {
    const again = { sentSegments: 30, retransmittedSegments: 2 };
    expect(of(counts(again), 0)).toBeUndefined();
    expect(of(counts({ ...again, sentBytes: 1 }), 1)).toBeUndefined();
    expect(of(counts({ ...again, connections: 1 }), 1)).toBeUndefined();
  });
});

it('retransmissions are trouble from the thresholds of the dashboards on, but not single ones', () => {
  const sent = (again: number) => counts({ sentBytes: 1, sentSegments: 1_000, retransmittedSegments: again });
  expect(of(sent(64))).toEqual(['lossy', 'alert', '6.4 % retransmitted', 'retransmitted']);
  expect(of(sent(10))?.[1]).toBe('notice');
  expect(of(sent(9))).toBeUndefined();
  expect(of(counts({ sentBytes: 1, sentSegments: 8, retransmittedSegments: 4 }))).toBeUndefined();
});

it('a long round trip is worth a look; a peer with a public address may be far away', () => {
  expect(of(counts(measured(0.182)))).toEqual(['slow', 'notice', '182 ms round trip', 'roundTrip']);
  expect(of(counts(measured(0.182)), 0, true)).toBeUndefined();
  expect(of(counts(measured(0.6)), 0, true)?.[2]).toBe('600 ms round trip');
  expect(of(counts(measured(0.09)))).toBeUndefined();
});

it('the worst of several troubles counts', () => {
  const both = counts({
    ...measured(0.2),
    sentBytes: 1,
    connections: 9,
    failed: { refused: 1 },
    sentSegments: 100,
    retransmittedSegments: 10,
  });
  expect(troublesOf(both, 1, false).map(({ kind }) => kind)).toEqual(['refused', 'lossy', 'slow']);
  expect(of(both)?.[0]).toBe('lossy');
});

it('an edge without growth has no trouble and no shares', () => {
  expect(troublesOf(NO_COUNTS, 5, false)).toEqual([]);
  expect([failedShare(NO_COUNTS), lostShare(NO_COUNTS)]).toEqual([null, null]);
});

it('shares are between 0 and 1', () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat(), (connections, refused) => {
      const share = failedShare(counts({ connections, failed: { refused } }));
      expect(share ?? 0).toBeGreaterThanOrEqual(0);
      expect(share ?? 0).toBeLessThanOrEqual(1);
    }),
  );
});

it.each([
  ['10.1.2.3', false],
  ['172.16.0.1', false],
  ['172.32.0.1', true],
  ['192.168.0.1', false],
  ['100.64.0.1', false],
  ['100.128.0.1', true],
  ['169.254.1.1', false],
  ['127.0.0.1', false],
  ['::1', false],
  ['::2', true],
  ['fd00::1', false],
  ['fe80::1', false],
  ['fec0::1', true],
  ['2001:db8::1', true],
  ['8.8.8.8', true],
])('%s is far: %s', (address, isFar) => expect(isFarAddress(address)).toBe(isFar));
