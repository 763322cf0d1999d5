/**
 * Data of a server is checked where it comes in: it becomes labels of the page, keys of caches, and lines of the log. An API server bounds most of
 * it, but not all, and the answering program need not be an API server.
 */

/** The longest name of an object (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/). */
const NAME_LENGTH_MAX = 253;
/** Maximum number of labels of one object that are kept. The API bounds the length of each key and value, but not their number. */
const LABELS_LENGTH_MAX = 16 * 1024;
const MESSAGE_LENGTH_MAX = 300;
/** Digits of a 64-bit number. */
const VERSION = /^\d{1,20}$/;

/** Returns a text, cut to the length of a name; undefined for everything else, and for an empty text. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value.slice(0, NAME_LENGTH_MAX) : undefined;
}

/** Returns the items of a list that are texts. */
export function textsOf(values: readonly unknown[]): string[] {
  return values.map(textOf).filter((text) => text !== undefined);
}

/** Returns the valid labels of an object, up to a limit. */
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

/** @throws {SyntaxError} for a malformed object */
export function uidOf(object: unknown): string {
  const { metadata } = object as { metadata?: { uid?: unknown; name?: unknown; namespace?: unknown } };
  const { uid, name = '', namespace = '' } = metadata ?? {};
  if (uid === undefined) throw new SyntaxError('sent an object without metadata.uid');
  if (!isName(uid) || !isName(name) || !isName(namespace)) {
    throw new SyntaxError(`sent an object whose uid, name or namespace is not a text of ${NAME_LENGTH_MAX} characters`);
  }
  return uid;
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length <= NAME_LENGTH_MAX;
}

/** Returns an HTTP status; undefined for everything else. */
export function statusOf(code: unknown): number | undefined {
  return typeof code === 'number' && Number.isInteger(code) && code >= 100 && code <= 599 ? code : undefined;
}

/** Returns a server's message as a part of a line of the log: cut, and without characters that end the line or move the cursor. */
export function oneLine(text: string, lengthMax = MESSAGE_LENGTH_MAX): string {
  return text.slice(0, lengthMax).replaceAll(/[\s\p{Cc}\p{Cf}]+/gu, ' ');
}

/**
 * Versions of one resource are numbers that grow. A server that was restored from a backup has smaller ones, and would not report a change before
 * they have grown up to ours.
 */
export function isEarlier(version = '', before = ''): boolean {
  return VERSION.test(version) && VERSION.test(before) && BigInt(version) < BigInt(before);
}
