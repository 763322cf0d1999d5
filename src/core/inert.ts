/**
 * Active characters: control characters, format characters (direction, zero width, marks), line separators, and halves of surrogate pairs.
 */
export const ACTIVE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** Returns a foreign text as one line, with active characters written as their codes: `\u{1b}`. */
export function visible(text: string): string {
  return text.replace(ACTIVE, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

/**
 * Does the same as {@link visible}, but keeps lines and tabs.
 * @param indent put before each line but the first, so that no line of the text can look like a first one
 */
export function visibleLines(text: string, indent = ''): string {
  return text
    .split('\n')
    .map((line) => line.split('\t').map(visible).join('\t'))
    .join(`\n${indent}`);
}

/** Returns a JSON text of the same value without active characters, of which JSON itself escapes only the first 32. */
export function inertJson(json: string): string {
  return json.replace(ACTIVE, (character) =>
    // Between its values JSON has spaces and line ends of its own.
    /[\n\r\t]/.test(character)
      ? character
      : Array.from({ length: character.length }, (_, at) => character.charCodeAt(at))
          .map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`)
          .join(''),
  );
}
