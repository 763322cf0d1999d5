export type Fields = Readonly<Record<string, unknown>>;

/** Maximum length of a field's name in a message. */
const NAME_MAX = 60;

/** Whether a value is an object with fields. */
export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An object of the API. Has a doubt if it is malformed or has fields that this version does not know. */
export interface Checked {
  /** Fields that are set. In the API, a field that is null counts as not set. */
  readonly fields: Fields;
  readonly doubt: string | undefined;
}

/**
 * Returns the known fields of an object. If there are other fields, also returns a doubt.
 * @param path path of the object for the text of the doubt
 */
export function checkFields(value: unknown, known: readonly string[], path: string): Checked {
  if (value === undefined || value === null) return { fields: {}, doubt: undefined };
  if (!isFields(value)) return { fields: {}, doubt: `${path}, which is malformed` };
  const set = Object.entries(value).filter(([, field]) => field !== undefined && field !== null);
  const other = set.find(([name]) => !known.includes(name))?.[0];
  const fields = Object.fromEntries(set.filter(([name]) => known.includes(name)));
  return { fields, doubt: other === undefined ? undefined : `field ${path}.${other.slice(0, NAME_MAX)}` };
}

/** Returns the items of a list; undefined if the list is missing. If the value is not a list, returns a doubt. */
export function listOf(
  value: unknown,
  path: string,
): { readonly items: readonly unknown[] | undefined; readonly doubt: string | undefined } {
  if (value === undefined || value === null) return { items: undefined, doubt: undefined };
  return Array.isArray(value)
    ? { items: value, doubt: undefined }
    : { items: undefined, doubt: `${path}, which is malformed` };
}

/** Returns the first doubt that is defined. */
export function firstDoubt(...doubts: readonly (string | undefined)[]): string | undefined {
  return doubts.find((doubt) => doubt !== undefined);
}
