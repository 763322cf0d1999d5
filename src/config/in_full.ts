import type * as z from 'zod';
import { isMapping, type Mapping } from './document.ts';
import { shapeOf } from './keys.ts';

type Schema = z.core.$ZodType;

/** Key of a mapping with values that may be secret. Only the keys of this mapping are shown. */
const HIDDEN = 'headers';

/** Fills in all defaults of a valid document, in the units that users write. Unset optional parts stay absent. */
export function inFull(schema: Schema, document: Mapping): Mapping {
  const shape = shapeOf(schema);
  if (shape === undefined) return document;
  return Object.fromEntries(
    Object.entries(shape).flatMap(([key, inner]) => {
      const value = document[key] ?? (key in document && shapeOf(inner) !== undefined ? {} : defaultOf(inner));
      if (value === undefined) return [];
      if (key === HIDDEN && isMapping(value)) return [[key, hidden(value)]];
      return [[key, isMapping(value) ? inFull(inner, value) : value]];
    }),
  );
}

function hidden(values: Mapping): Mapping {
  return Object.fromEntries(Object.keys(values).map((key) => [key, '(hidden)']));
}

/**
 * Returns the default value of a schema as a user would write it, before transforms; undefined if the part is optional.
 */
function defaultOf(schema: Schema): unknown {
  const {
    defaultValue,
    innerType,
    in: from,
    out: to,
  } = schema._zod.def as unknown as {
    readonly defaultValue?: unknown;
    readonly innerType?: Schema;
    readonly in?: Schema;
    readonly out?: Schema;
  };
  if (defaultValue !== undefined) return defaultValue;
  for (const inner of [innerType, from, to]) {
    const value = inner && defaultOf(inner);
    if (value !== undefined) return value;
  }
  return undefined;
}
