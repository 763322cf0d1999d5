import type { FlowRecord } from './flows.ts';

/** Values of records by their kind. Events have a lane of their own (`agent/lane.ts`) and are not among them. */
export interface RecordValues {
  readonly flow: FlowRecord;
}

export type RecordName = keyof RecordValues;

/** Records of one kind, in the order in which they were made. */
export type RecordBatch = {
  readonly [Name in RecordName]: { readonly kind: Name; readonly values: readonly RecordValues[Name][] };
}[RecordName];
