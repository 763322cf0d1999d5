/** Reads names as they are in DNS messages, and finds names that a search list has completed. */

const POINT = 0x2e;
const BACKSLASH = 0x5c;

/**
 * Converts a name from a message to text, in lower case. Bytes other than printable ASCII, and points and backslashes
 * within a label, are written as in zone files (RFC 1035, section 5.1).
 * @param bytes start of the name
 * @param length length of the whole name; if it is larger than `bytes`, the text ends with `…`
 */
export function nameText(bytes: Uint8Array, length: number): string {
  const labels: string[] = [];
  let at = 0;
  for (;;) {
    const size = bytes[at];
    if (size === undefined) return [...labels, '…'].join('.');
    if (size === 0) return labels.length === 0 ? '.' : labels.join('.');
    const end = at + 1 + size;
    const label = Array.from(bytes.subarray(at + 1, Math.min(end, length)), characterText).join('');
    labels.push(end > bytes.length ? `${label}…` : label);
    if (end > bytes.length) return labels.join('.');
    at = end;
  }
}

function characterText(byte: number): string {
  if (byte === POINT || byte === BACKSLASH) return `\\${String.fromCharCode(byte)}`;
  if (byte > 0x20 && byte < 0x7f) return String.fromCharCode(byte).toLowerCase();
  return `\\${String(byte).padStart(3, '0')}`;
}

/** A name, and the names that a resolver has made of it with a search list. */
export interface Amplified {
  readonly name: string;
  /** Number of different names, including the name itself if it does not exist either. */
  readonly askedAs: number;
}

/**
 * Finds the name that was asked in the largest number of ways: several names that begin with the same labels.
 * @param answers number of NXDOMAIN answers by name
 * @returns undefined if no two names begin with the same label
 */
export function mostAmplified(answers: ReadonlyMap<string, number>): Amplified | undefined {
  const groups = Map.groupBy(answers.keys(), (name) => name.slice(0, firstEnd(name)));
  let most: Amplified | undefined;
  for (const names of groups.values()) {
    if (names.length < 2 || names.length <= (most?.askedAs ?? 0)) continue;
    most = {
      name: names
        .map((name) => name.split('.'))
        .reduce(commonLabels)
        .join('.'),
      askedAs: names.length,
    };
  }
  return most;
}

function firstEnd(name: string): number {
  const end = name.indexOf('.');
  return end < 0 ? name.length : end;
}

function commonLabels(a: string[], b: string[]): string[] {
  const different = a.findIndex((label, index) => label !== b[index]);
  return different < 0 ? a : a.slice(0, different);
}
