/**
 * Characters that can change how text is displayed: control and format characters (text direction, zero width), line
 * and paragraph separators, and unpaired surrogates.
 */
export const ACTIVE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** Returns untrusted text as one line, with active characters replaced by their code points: `\u{1b}`. */
export function visible(text: string): string {
  return text.replace(ACTIVE, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

/**
 * Like {@link visible}, but keeps line breaks and tabs.
 * @param indent prefix of each line except the first, so that no other line can be mistaken for the start of a message
 */
export function visibleLines(text: string, indent = ''): string {
  return text
    .split('\n')
    .map((line) => line.split('\t').map(visible).join('\t'))
    .join(`\n${indent}`);
}

/** Escapes active characters in JSON without changing its value. JSON.stringify() escapes only some of them. */
export function inertJson(json: string): string {
  return json.replace(ACTIVE, (character) =>
    // In valid JSON, these characters occur only as white space between tokens.
    /[\n\r\t]/.test(character)
      ? character
      : Array.from({ length: character.length }, (_, at) => character.charCodeAt(at))
          .map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`)
          .join(''),
  );
}
