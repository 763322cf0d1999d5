import fc from 'fast-check';
import { expect, it } from 'vitest';
import { tcpState } from '#bpf/generated/common.ts';
import { summarize } from './diag.ts';
import { fullness, hasQueues, NO_SOCKETS } from './snapshot.ts';

const port = fc.integer({ min: 1, max: 5 });
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const anyRow = fc.record({ state: fc.integer({ min: 1, max: 15 }), port, receiveQueue: u32, sendQueue: u32 });

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

it('adds up the rows; a difference below zero counts as 0', () => {
  fc.assert(
    fc.property(fc.array(anyRow), (rows) => {
      const summary = summarize(rows);
      for (let state = 1; state < NO_SOCKETS.sockets.length; state++) {
        expect(summary.sockets[state]).toBe(rows.filter((row) => row.state === state).length);
      }
      const queued = rows.filter(({ state }) => hasQueues(state));
      const received = queued.map(({ receiveQueue }) => (receiveQueue < 2 ** 31 ? receiveQueue : 0));
      const sent = queued.map(({ sendQueue }) => (sendQueue < 2 ** 31 ? sendQueue : 0));
      expect(summary).toMatchObject({
        receiveQueue: sum(received),
        sendQueue: sum(sent),
        largestReceiveQueue: Math.max(0, ...received),
        largestSendQueue: Math.max(0, ...sent),
      });
      const listening = rows.filter(({ state }) => state === tcpState.listen);
      expect([...summary.acceptQueues].sort((a, b) => a.port - b.port)).toEqual(
        [...new Set(listening.map((row) => row.port))]
          .sort((a, b) => a - b)
          .map((number) => {
            const same = listening.filter((row) => row.port === number);
            return {
              port: number,
              length: sum(same.map(({ receiveQueue }) => receiveQueue)),
              limit: sum(same.map(({ sendQueue }) => sendQueue)),
              fullest: expect.anything(),
            };
          }),
      );
    }),
  );
  expect(summarize([])).toEqual(NO_SOCKETS);
});

function listener(port: number, receiveQueue: number, sendQueue: number) {
  return { state: tcpState.listen, port, receiveQueue, sendQueue };
}

it('reports the fullest of the sockets that share a port', () => {
  const rows = [...Array.from({ length: 7 }, () => listener(80, 0, 8)), listener(80, 9, 8), listener(80, 100, 1_000)];
  const [queue] = summarize(rows).acceptQueues;
  expect(queue).toEqual({ port: 80, length: 109, limit: 1_064, fullest: { length: 9, limit: 8 } });
  expect(queue && fullness(queue.fullest)).toBe(1);
  // A port is ranked by its fullest socket and not by the sum over its sockets.
  expect(summarize([...rows, listener(81, 5, 9)]).acceptQueues.map(({ port }) => port)).toEqual([80, 81]);
});

it('puts the fullest accept queue first', () => {
  const rows = [listener(1, 0, 10), listener(2, 5, 10), listener(3, 2, 2), listener(4, 0, 0), listener(5, 5, 10)];
  expect(summarize(rows).acceptQueues.map(({ port }) => port)).toEqual([3, 2, 5, 1, 4]);
});
