import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { count } from '../format.ts';
import { RECORDS_MAX } from './record_log.ts';
import { RecordStream } from './record_stream.ts';

interface Props<Value> {
  /** Path of the stream of the records, with its query. */
  readonly path: string;
  /** Label of the button that shows the records. */
  readonly prompt: string;
  /** A sentence about which observations have records. */
  readonly selection: string;
  /** Returns the text of a record on its line. */
  readonly line: (value: Value) => ComponentChildren;
}

/** Shows records as they arrive. */
export function Records<Value extends { readonly message: string }>(props: Props<Value>): JSX.Element {
  const { path, prompt } = props;
  const [isWanted, want] = useState(false);
  const [, redraw] = useState(0);
  const [stream, setStream] = useState<RecordStream<Value> | undefined>(undefined);
  useEffect(() => {
    if (!isWanted) return undefined;
    const opened = new RecordStream<Value>(path, () => redraw((drawn) => drawn + 1));
    setStream(opened);
    return () => {
      opened[Symbol.dispose]();
      setStream(undefined);
    };
  }, [isWanted]);
  return (
    <>
      <h3>Records</h3>
      <p>
        <button type="button" class="toggle" aria-expanded={isWanted} onClick={() => want(!isWanted)}>
          {isWanted ? 'Hide records' : prompt}
        </button>
      </p>
      {isWanted && stream !== undefined && <RecordList stream={stream} {...props} />}
    </>
  );
}

function RecordList<Value extends { readonly message: string }>({
  stream,
  selection,
  line,
}: Props<Value> & { readonly stream: RecordStream<Value> }): JSX.Element {
  const { records, leftOut } = stream.log;
  return (
    <div class="records">
      <p class="quiet" role="status">
        {stateText(stream)} {selection}
        {leftOut > 0 && ` ${count(leftOut)} records were removed because the page keeps at most ${RECORDS_MAX}.`}
      </p>
      {records.length > 0 && (
        <ol>
          {records.map(({ id, value }) => (
            <li key={id} title={value.message}>
              {line(value)}
            </li>
          ))}
        </ol>
      )}
    </div>
  );
}

function stateText({ isOpen, failure, log }: RecordStream<unknown>): string {
  if (failure !== '') return `Records cannot be received: ${failure}. Retrying automatically.`;
  if (!isOpen) return 'Connecting to the stream of records.';
  return log.records.length === 0
    ? 'No record in the last 10 minutes. New ones appear automatically.'
    : 'Newest first; new ones appear automatically.';
}

interface Selection {
  /** Key `records` of the probe; undefined if it is unknown. */
  readonly selected: unknown;
  /** The observations, such as `connections`. */
  readonly what: string;
  /** Sentence for the case that the configuration is unknown. */
  readonly unknown: string;
  /** Sentence for the case that the configuration selects none. */
  readonly none: string;
}

/** Describes which observations have records, because most have none by default. */
export function selectionText({ selected, what, unknown, none }: Selection): string {
  if (typeof selected !== 'object' || selected === null) return unknown;
  const { failed, slow, sample } = selected as Readonly<Record<string, unknown>>;
  const parts = [
    ...(failed === true ? [`failed ${what}`] : []),
    ...(slow === undefined ? [] : [`${what} of at least ${slow}`]),
    ...(sample === undefined ? [] : [`${sample} of all others`]),
  ];
  return parts.length === 0 ? none : `The configuration of the probe selects ${parts.join(', ')}.`;
}
