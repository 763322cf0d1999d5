import { expect, it } from 'vitest';
import type { FlowRecord } from '#api/flows.ts';
import { makeFlows } from '../../../../test/support/flow_lines.ts';
import { RECORDS_MAX, RecordLog } from './record_log.ts';

const seen = (count: number, first = 0) =>
  makeFlows(count, {}, first).map((value, index) => ({ id: `run-${first + index}`, value }));

it('keeps the newest records, the latest first, and counts what it removes', () => {
  const log = new RecordLog<FlowRecord>();
  expect(log.lastId).toBe('');
  log.add(seen(3));
  log.add(seen(1, 3));
  expect(log.records.map(({ id }) => id)).toEqual(['run-3', 'run-2', 'run-1', 'run-0']);
  expect([log.lastId, log.leftOut]).toEqual(['run-3', 0]);
  log.add(seen(RECORDS_MAX, 4));
  expect([log.records.length, log.lastId, log.leftOut]).toEqual([RECORDS_MAX, `run-${RECORDS_MAX + 3}`, 4]);
});
