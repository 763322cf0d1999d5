import { visible } from '#core/inert.ts';
import { parseJson } from './agent_client.ts';

/** The part of a schema of zod that is needed. Commands load their schemas only when they print text. */
interface Schema<T> {
  safeParse(value: unknown): { readonly data?: T | undefined };
}

/**
 * Returns a function that formats a record of a stream as one line. A record that this version cannot parse, because
 * the agent has a different version, is shown as received.
 */
export function lineFormat<T>(schema: Schema<T>, textOf: (record: T) => string): (line: string) => string {
  return (line) => {
    const { data } = schema.safeParse(parseJson(line));
    return visible(data === undefined ? line : textOf(data));
  };
}

const MILLISECOND_DIGITS = 'yyyy-mm-ddThh:mm:ss.mmm'.length;

/** Formats a time of a record with milliseconds instead of nanoseconds. */
export function timeText(time: string): string {
  return `${time.slice(0, MILLISECOND_DIGITS)}Z`;
}
