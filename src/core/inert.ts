/** Control characters; what turns the direction of a line, has no width or is a mark of a format; separators of lines; half a surrogate pair. */
export const ACTIVE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** The text of somebody else as one line, where characters that do something when they are shown are written as what they are: `\u{1b}`. */
export function visible(text: string): string {
  return text.replace(ACTIVE, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

/** As {@link visible}, but lines stay lines, and tabs tabs. @param indent before each line but the first, which nothing in the text can look like */
export function visibleLines(text: string, indent = ''): string {
  return text
    .split('\n')
    .map((line) => line.split('\t').map(visible).join('\t'))
    .join(`\n${indent}`);
}

/** A JSON text of the same value, without characters that do something when they are shown: of these JSON itself escapes the first 32 only. */
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
