import { ACTIVE } from '#core/inert.ts';

/** Maximum number of characters of a server's response that a message quotes. */
export const WORDS_MAX = 300;
/** Shorter secrets are not hidden, because they would match by chance. */
const SECRET_LENGTH_MIN = 4;

/** Returns untrusted text on one line, truncated, and without control characters. */
export function inert(text: string, lengthMax = WORDS_MAX): string {
  // The text is truncated first, because replacing characters in a very long line is slow.
  const line = text
    .slice(0, lengthMax * 2)
    .replace(ACTIVE, ' ')
    .replace(/ {2,}/g, ' ')
    .trim();
  return line.length > lengthMax ? `${line.slice(0, lengthMax).replace(/[\ud800-\udbff]$/, '')}…` : line;
}

/** Removes secrets from text, because a server may echo what it received. */
export class Secrets {
  #known: readonly string[] = [];

  /** Sets the secrets to hide. Longer secrets are hidden first, because they may contain shorter ones. */
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
