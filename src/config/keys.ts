import type * as z from 'zod';

type Schema = z.core.$ZodType;

/** Returns the keys of the object schema at a path; empty if there is no object schema at this path. */
export function keysAt(schema: Schema, path: readonly PropertyKey[]): readonly string[] {
  let at: Schema | undefined = schema;
  for (const key of path) at = shapeOf(at)?.[String(key)];
  return Object.keys(shapeOf(at) ?? {});
}

/** Returns the shape of an object schema, which may be wrapped in defaults, optionals, preprocessing and transforms. */
export function shapeOf(schema: Schema | undefined): Readonly<Record<string, Schema>> | undefined {
  const { def } = (schema as { _zod?: { def: object } } | undefined)?._zod ?? { def: {} };
  if ('shape' in def) return def.shape as Record<string, Schema>;
  if ('innerType' in def) return shapeOf(def.innerType as Schema);
  if (!('in' in def && 'out' in def)) return undefined;
  return shapeOf(def.out as Schema) ?? shapeOf(def.in as Schema);
}
