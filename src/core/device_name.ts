const utf8 = new TextDecoder('utf-8', { fatal: true });

const ASCII_END = 0x80;

/**
 * The name of a network device. The kernel takes any byte but `/`, white space and NUL (net/core/dev.c, dev_valid_name()), and what is
 * shown is UTF-8: of a name that is none each byte beyond ASCII becomes `/` and two digits, `/ff`, so that no two devices have one
 * name.
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
