import type { Garbled } from '../errors.ts';

const SHOWN_MAX = 80;

/** The lines of a file of the kernel. It writes whole ones: a last line without its end was cut, and its numbers with it. */
export function wholeLines(text: string, garbled: Garbled): string[] {
  const lines = text.split('\n');
  const rest = lines.pop();
  if (rest !== '' && rest !== undefined) garbled(`a last line without an end: ${shown(rest)}`);
  return lines;
}

/** A piece of a file as it may stand in a message. */
export function shown(text: string): string {
  return JSON.stringify(text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text);
}
