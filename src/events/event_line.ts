import type { EventRecord } from '#api/events.ts';

/** A finished event with its JSON text, which is made once for all who want it. */
export interface EventLine {
  readonly record: EventRecord;
  readonly json: string;
  /** Of the text in UTF-8. */
  readonly bytes: number;
}

export function toLine(record: EventRecord): EventLine {
  const json = JSON.stringify(record);
  return { record, json, bytes: Buffer.byteLength(json) };
}
