import fc from 'fast-check';
import { expect, it } from 'vitest';
import { RECORD_KINDS } from '#events/kinds.ts';
import { makeLines } from '../../test/support/event_lines.ts';
import { makeRequests, REQUEST_KIND } from '../../test/support/request_kind.ts';
import { SpoolLines, sourceOf } from './spool_lines.ts';

const lines = new SpoolLines([...RECORD_KINDS, REQUEST_KIND]);
const RECORDS = [
  ...makeLines(3, { message: 'ünï {"probe":"tcp"} \t\n', src: '[fd00::1]:53' }),
  ...makeRequests(12).map(REQUEST_KIND.toRecord),
];

/** What can be read of a line, and undefined where it is malformed. */
function read(line: string) {
  try {
    return lines.parse(line);
  } catch {
    return undefined;
  }
}

it('a line gives back its record, and tells whose it is', () => {
  for (const record of RECORDS) {
    const line = lines.format(record);
    expect(line).not.toContain('\n');
    expect(lines.parse(line)).toEqual(record);
    expect(sourceOf(line)).toEqual({ kind: record.kind, probe: record.probe });
  }
  expect(lines.format(RECORDS[3] as (typeof RECORDS)[number])).toMatch(/^request\/2 http \{"timeNs"/);
});

it('a line that was cut is none, whoever it was', () => {
  for (const record of RECORDS) {
    const line = lines.format(record);
    for (let end = 0; end < line.length; end++) expect(read(line.slice(0, end)), line.slice(0, end)).toBeUndefined();
  }
});

it('whatever a line says, it is read or refused', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.json().map((text) => `event/1 packetloss ${text}`),
      ),
      (line) => {
        read(line);
        expect(sourceOf(line)).toEqual({ kind: expect.any(String), probe: expect.stringMatching(/^[a-z0-9_]{1,64}$/) });
      },
    ),
  );
});
