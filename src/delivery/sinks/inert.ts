import { ACTIVE } from '#core/inert.ts';

/** Maximum length of a server's text in messages. */
export const WORDS_MAX = 300;
/** Shorter secrets are not hidden, because they would match by chance. */
const SECRET_LENGTH_MIN = 4;

/** Returns untrusted text on one line, truncated, and without control characters. */
export function inert(text: string, lengthMax = WORDS_MAX): string {
  // Truncated first, because replacing characters in a very long line takes time.
  const line = text
    .slice(0, lengthMax * 2)
    .replace(ACTIVE, ' ')
    .replace(/ {2,}/g, ' ')
    .trim();
  return line.length > lengthMax ? `${line.slice(0, lengthMax).replace(/[\ud800-\udbff]$/, '')}…` : line;
}

/** Removes secrets from texts, because a server may echo what it received. */
export class Secrets {
  #known: readonly string[] = [];

  /** Replaces the secrets. Longer ones are hidden first, because they may contain others. */
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
