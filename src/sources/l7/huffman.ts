/**
 * Lengths in bits of the codes of the 256 characters (RFC 7541, appendix B). Codes of the same length are assigned in
 * the order of the characters, and shorter codes come first, so the lengths determine all codes.
 */
const LENGTHS: readonly number[] = [
  [13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28],
  [28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28],
  [6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6],
  [5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10],
  [13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
  [7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6],
  [15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5],
  [6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28],
  [20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23],
  [24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24],
  [22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23],
  [21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23],
  [26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25],
  [19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27],
  [20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23],
  [26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26],
].flat();

const LONGEST = 30;
/** Characters by their code, which is preceded by a set bit so that leading zeros count. */
const CHARACTERS = charactersByCode();

function charactersByCode(): ReadonlyMap<number, number> {
  const characters = new Map<number, number>();
  let code = 0;
  for (let length = 1; length <= LONGEST; length++) {
    code *= 2;
    for (const [character, bits] of LENGTHS.entries())
      if (bits === length) characters.set(2 ** length + code++, character);
  }
  return characters;
}

const PADDING_MAX = 7;

/**
 * Decodes a string of HPACK, HTTP/2's header compression. Returns undefined if it is malformed.
 * @param isCut whether its end is missing, so that it may end within a character
 */
export function decodeHuffman(bytes: Uint8Array, isCut = false): string | undefined {
  let text = '';
  let code = 1;
  let isPadding = true;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      const one = (byte >> bit) & 1;
      isPadding &&= one === 1;
      code = code * 2 + one;
      const character = CHARACTERS.get(code);
      if (character !== undefined) {
        text += String.fromCharCode(character);
        code = 1;
        isPadding = true;
      } else if (code >= 2 ** LONGEST) {
        return undefined;
      }
    }
  }
  return isCut || (isPadding && code < 2 ** (PADDING_MAX + 1)) ? text : undefined;
}
