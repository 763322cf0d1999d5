const utf8 = new TextDecoder('utf-8', { fatal: true });

const ASCII_END = 0x80;

/**
 * Returns the name of a network device. The kernel accepts any byte but `/`, white space and NUL (net/core/dev.c, dev_valid_name()), and
 * shown names are UTF-8: in a name that is not UTF-8, each byte beyond ASCII becomes `/` and two digits, `/ff`, so that no two devices have
 * the same name.
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
