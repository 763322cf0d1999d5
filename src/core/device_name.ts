const utf8 = new TextDecoder('utf-8', { fatal: true });

const ASCII_END = 0x80;

/**
 * Decodes the name of a network device. The kernel allows all bytes except `/`, `:`, white space and NUL
 * (net/core/dev.c, dev_valid_name()). If a name is not valid UTF-8, each of its non-ASCII bytes becomes `/` and two hex
 * digits, such as `/ff`, so that the names of two devices stay distinct.
 */
export function deviceName(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    return Array.from(bytes, (byte) => (byte < ASCII_END ? String.fromCharCode(byte) : `/${byte.toString(16)}`)).join(
      '',
    );
  }
}
