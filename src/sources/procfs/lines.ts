import type { Malformed } from '../errors.ts';

const SHOWN_MAX = 80;

/** Returns the complete lines of a kernel file. A last line without a newline is truncated, so it is skipped. */
export function wholeLines(text: string, malformed: Malformed): string[] {
  const lines = text.split('\n');
  const rest = lines.pop();
  if (rest !== '' && rest !== undefined) malformed(`a last line without an end: ${shown(rest)}`);
  return lines;
}

/** Quotes a piece of a file for a message. */
export function shown(text: string): string {
  return JSON.stringify(text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text);
}
