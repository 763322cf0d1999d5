/** Maximum number of characters of a text that the other end chooses. */
const FOREIGN_MAX = 500;

/** Cuts a text that the other end of a connection chooses, and says how long it was. */
export function bounded(text: string): string {
  return text.length <= FOREIGN_MAX ? text : `${text.slice(0, FOREIGN_MAX)}… (${text.length} characters)`;
}
