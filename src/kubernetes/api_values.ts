/**
 * Validates data from the API server that becomes metric labels, cache keys or log messages. A real API server limits
 * the length of most of these strings, but not of all, and another program may respond in its place.
 */

/** Maximum length of an object's name (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/). */
const NAME_LENGTH_MAX = 253;
/** Maximum total length of an object's labels. The API limits the length of each label, but not their number. */
const LABELS_LENGTH_MAX = 16 * 1024;
const MESSAGE_LENGTH_MAX = 300;
/** A 64-bit number in decimal. */
const VERSION = /^\d{1,20}$/;

/**
 * Returns a string, truncated to the maximum length of a name. Returns undefined for an empty string or any other
 * value.
 */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value.slice(0, NAME_LENGTH_MAX) : undefined;
}

/** Returns the strings in a list. */
export function textsOf(values: readonly unknown[]): string[] {
  return values.map(textOf).filter((text) => text !== undefined);
}

/** Returns those labels of an object whose values are strings, up to a maximum total length. */
export function labelsOf(labels: unknown): Readonly<Record<string, string>> {
  if (typeof labels !== 'object' || labels === null) return {};
  let length = 0;
  const kept = Object.entries(labels).filter(([key, value]) => {
    if (typeof value !== 'string') return false;
    length += key.length + value.length;
    return length <= LABELS_LENGTH_MAX;
  });
  return Object.fromEntries(kept);
}

/** @throws {SyntaxError} if the object is malformed */
export function uidOf(object: unknown): string {
  const { metadata } = object as { metadata?: { uid?: unknown; name?: unknown; namespace?: unknown } };
  const { uid, name = '', namespace = '' } = metadata ?? {};
  if (uid === undefined) throw new SyntaxError('sent an object without metadata.uid');
  if (!isName(uid) || !isName(name) || !isName(namespace)) {
    throw new SyntaxError(
      `sent an object whose uid, name or namespace is not a string of at most ${NAME_LENGTH_MAX} characters`,
    );
  }
  return uid;
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length <= NAME_LENGTH_MAX;
}

/** Returns a valid HTTP status; undefined for any other value. */
export function statusOf(code: unknown): number | undefined {
  return typeof code === 'number' && Number.isInteger(code) && code >= 100 && code <= 599 ? code : undefined;
}

/** Returns a server's message for the log: truncated, and without control characters and line breaks. */
export function oneLine(text: string, lengthMax = MESSAGE_LENGTH_MAX): string {
  return text.slice(0, lengthMax).replaceAll(/[\s\p{Cc}\p{Cf}]+/gu, ' ');
}

/**
 * Whether one resource version is older than another. The versions of a resource normally only increase. A server that
 * was restored from a backup starts from an older version, and would not send changes until it exceeds the version that
 * the agent has.
 */
export function isEarlier(version = '', before = ''): boolean {
  return VERSION.test(version) && VERSION.test(before) && BigInt(version) < BigInt(before);
}
