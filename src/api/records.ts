import type { FlowRecord } from './flows.ts';
import type { RequestRecord } from './requests.ts';

/** Types of the records, by kind. Events are not included, because they are processed separately (`agent/lane.ts`). */
export interface RecordValues {
  readonly flow: FlowRecord;
  readonly request: RequestRecord;
}

export type RecordName = keyof RecordValues;

/** Records of one kind, in the order of their creation. */
export type RecordBatch = {
  readonly [Name in RecordName]: { readonly kind: Name; readonly values: readonly RecordValues[Name][] };
}[RecordName];
