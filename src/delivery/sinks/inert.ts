import { ACTIVE } from '#core/inert.ts';

/** Of what a server says. */
export const WORDS_MAX = 300;
/** A shorter one would be found in every text. */
const SECRET_LENGTH_MIN = 4;

/** The text of somebody else on one line, cut, without characters that do something where they are shown. */
export function inert(text: string, lengthMax = WORDS_MAX): string {
  // Cut before as well: a server may send a long line, and looking at each character takes time.
  const line = text
    .slice(0, lengthMax * 2)
    .replace(ACTIVE, ' ')
    .replace(/ {2,}/g, ' ')
    .trim();
  return line.length > lengthMax ? `${line.slice(0, lengthMax).replace(/[\ud800-\udbff]$/, '')}…` : line;
}

/** Takes secrets out of texts: a server may send back what it was sent. */
export class Secrets {
  #known: readonly string[] = [];

  /** Those of before are forgotten. The longest first: one may be a part of another. */
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
