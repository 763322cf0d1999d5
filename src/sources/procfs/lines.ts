/** The lines of a file of the kernel. It writes whole ones: a last line without its end was cut, and its numbers with it. */
export function wholeLines(text: string): string[] {
  return text.split('\n').slice(0, -1);
}
