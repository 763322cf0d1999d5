import { ACTIVE } from '#core/inert.ts';

/** Longest text of a server that is shown. */
export const WORDS_MAX = 300;
/** A shorter secret would be found in every text. */
const SECRET_LENGTH_MIN = 4;

/** Returns somebody else's text on one line, cut, and without control characters. */
export function inert(text: string, lengthMax = WORDS_MAX): string {
  // Cut beforehand as well: a server may send a long line, and looking at each character takes time.
  const line = text
    .slice(0, lengthMax * 2)
    .replace(ACTIVE, ' ')
    .replace(/ {2,}/g, ' ')
    .trim();
  return line.length > lengthMax ? `${line.slice(0, lengthMax).replace(/[\ud800-\udbff]$/, '')}…` : line;
}

/** Removes secrets from texts: a server may send back what it was sent. */
export class Secrets {
  #known: readonly string[] = [];

  /** Forgets earlier secrets. The longest come first, because one may be part of another. */
  set(secrets: readonly string[]): void {
    const all = secrets.flatMap((secret) => [secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)]);
    this.#known = [...new Set(all)]
      .filter(({ length }) => length >= SECRET_LENGTH_MIN)
      .sort((a, b) => b.length - a.length);
  }

  hide(text: string): string {
    return this.#known.reduce((hidden, secret) => hidden.replaceAll(secret, '***'), text);
  }
}
