import type { Malformed } from '../errors.ts';

const SHOWN_MAX = 80;

/** Returns the complete lines of a kernel file. Skips a last line without a newline, because it is truncated. */
export function wholeLines(text: string, malformed: Malformed): string[] {
  const lines = text.split('\n');
  const rest = lines.pop();
  if (rest !== '' && rest !== undefined) malformed(`a last line without an end: ${shown(rest)}`);
  return lines;
}

/** Quotes part of a file for use in a message. */
export function shown(text: string): string {
  return JSON.stringify(text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text);
}
