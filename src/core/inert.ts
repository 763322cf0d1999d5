/**
 * Characters that can change how a text is displayed: control and format characters (text direction, zero width), line
 * and paragraph separators, and unpaired surrogates.
 */
export const ACTIVE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** Returns untrusted text as one line, with active characters replaced by their code points: `\u{1b}`. */
export function visible(text: string): string {
  return text.replace(ACTIVE, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

/**
 * Like {@link visible}, but keeps line breaks and tabs.
 * @param indent put before each line but the first, so that no line can pass for the first line of a message
 */
export function visibleLines(text: string, indent = ''): string {
  return text
    .split('\n')
    .map((line) => line.split('\t').map(visible).join('\t'))
    .join(`\n${indent}`);
}

/** Escapes all active characters in a JSON text without changing its value. JSON.stringify() escapes only those below U+0020. */
export function inertJson(json: string): string {
  return json.replace(ACTIVE, (character) =>
    // In JSON, these occur only between values, as white space.
    /[\n\r\t]/.test(character)
      ? character
      : Array.from({ length: character.length }, (_, at) => character.charCodeAt(at))
          .map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`)
          .join(''),
  );
}
