import fc from 'fast-check';
import { expect, it } from 'vitest';
import { RECORD_KINDS } from '#events/kinds.ts';
import { makeLines } from '../../test/support/event_lines.ts';
import { makeFlowLines } from '../../test/support/flow_lines.ts';
import { makeRequests, REQUEST_KIND } from '../../test/support/request_kind.ts';
import { type Line, SpoolLines, sourceOf, splitLines } from './spool_lines.ts';

const lines = new SpoolLines([...RECORD_KINDS, REQUEST_KIND]);
const RECORDS = [
  ...makeLines(3, { message: 'ünï {"probe":"tcp"} \t\n', src: '[fd00::1]:53' }),
  ...makeRequests(12).map(REQUEST_KIND.toRecord),
  ...makeFlowLines(2, { pod: 'ünï {"probe":"tcp"} \t\n', src: 'fd00::1' }),
];

const lineOf = (text: string): Line => ({ text, isText: true, bytes: Buffer.byteLength(text) + 1 });

/** Returns the record in a line, or undefined if the line is malformed. */
function read(line: string) {
  try {
    return lines.parse(lineOf(line), sourceOf(line));
  } catch {
    return undefined;
  }
}

it('a line gives back its record, its kind and its probe', () => {
  for (const record of RECORDS) {
    const line = lines.format(record);
    expect(line).not.toContain('\n');
    expect(read(line)).toEqual(record);
    expect(sourceOf(line)).toEqual({ kind: record.kind, probe: record.probe });
  }
  expect(lines.format(RECORDS[3] as (typeof RECORDS)[number])).toMatch(/^request\/2 http \{"timeNs"/);
});

it('a truncated line is malformed, whatever its source', () => {
  for (const record of RECORDS) {
    const line = lines.format(record);
    for (let end = 0; end < line.length; end++) expect(read(line.slice(0, end)), line.slice(0, end)).toBeUndefined();
  }
});

it('whatever a line contains, it is read or refused', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.json().map((text) => `event/1 packetloss ${text}`),
        fc.json().map((text) => `flow/1 flow ${text}`),
      ),
      (line) => {
        read(line);
        expect(sourceOf(line)).toEqual({ kind: expect.any(String), probe: expect.stringMatching(/^[a-z0-9_]{1,64}$/) });
      },
    ),
  );
});

it.each([
  'null',
  '7',
  '[]',
  '{}',
  '{"time":5}',
  '{"time":"2026-01-01T00:00:00.000000000Z"}',
  'event/1 packetloss {}',
  'event/1 packetloss {"time":"2026-01-01T00:00:00.000000000Z","probe":"packetloss","severity":"loud"}',
  'event/1 packetloss {"time":"2026-01-01T00:00:00.000000000Z","probe":"packetloss","severity":"info","pod":{}}',
  'event/1 packetloss {"time":"2026-01-01T00:00:00.000000000Z","probe":"tcpreset","severity":"info"}',
  'flow/1 flow {}',
  'flow/1 flow {"time":"2026-01-01T00:00:00.000000000Z","probe":"flow"}',
  'flow/1 flow {"time":"2026-01-01T00:00:00.000000000Z","probe":"flow","src":"","dst":"","cause":{}}',
  'flow/1 flow {"time":"2026-01-01T00:00:00.000000000Z","probe":"tcp","src":"","dst":""}',
  'flow/2 flow {"time":"2026-01-01T00:00:00.000000000Z","probe":"flow","src":"","dst":""}',
])('%s is not a record', (line) => {
  expect(read(line)).toBeUndefined();
});

it('a line that is not valid UTF-8 is not a record, and takes as many bytes as it has', () => {
  const [record] = makeLines(1, { message: 'XY' });
  const bytes = Buffer.from(`${lines.format(record as (typeof RECORDS)[number])}\nnext\n`);
  bytes[bytes.indexOf('XY')] = 0xff;
  const [line, next] = splitLines(bytes, false).lines;
  expect(line).toMatchObject({ isText: false, bytes: bytes.length - 5 });
  expect(next).toEqual({ text: 'next', isText: true, bytes: 5 });
  expect(() => lines.parse(line as Line, { kind: 'event', probe: 'packetloss' })).toThrow('not a record');
});

it('lines account for all bytes, whatever these are', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (given, isEnd) => {
      const bytes = Buffer.from(given.map((byte) => (byte < 60 ? 0x0a : byte)));
      const { lines: split, rest } = splitLines(bytes, isEnd);
      expect(split.reduce((sum, line) => sum + line.bytes, 0) + rest.length).toBe(bytes.length);
      expect(split.every((line) => line.bytes > 0 && !line.text.includes('\n'))).toBe(true);
      if (isEnd) expect(rest).toHaveLength(0);
      else expect(rest).not.toContain(0x0a);
    }),
  );
});
