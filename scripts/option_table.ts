import type * as z from 'zod';
import { table } from './markdown.ts';

type Schema = z.core.$ZodType;

interface Def {
  readonly type: string;
  readonly shape?: Readonly<Record<string, Schema>>;
  readonly innerType?: Schema;
  readonly in?: Schema;
  readonly out?: Schema;
  readonly defaultValue?: unknown;
}

/** Facts about an option from its schema, and from the schemas that this schema wraps. */
interface Option {
  readonly shape: Readonly<Record<string, Schema>> | undefined;
  readonly byDefault: unknown;
  readonly isOptional: boolean;
  readonly help: string;
}

function optionOf(schema: Schema): Option {
  const { type, shape, innerType, in: from, out: to, defaultValue } = schema._zod.def as unknown as Def;
  const { description = '' } = schema as { description?: string };
  const within = [innerType, to, from].flatMap((inner) => (inner === undefined ? [] : [optionOf(inner)]));
  return {
    shape: shape ?? within.find((option) => option.shape !== undefined)?.shape,
    byDefault: defaultValue ?? within.find((option) => option.byDefault !== undefined)?.byDefault,
    isOptional: type === 'optional' || within.some((option) => option.isOptional),
    help: description || (within.find(({ help }) => help !== '')?.help ?? ''),
  };
}

/** Returns the name, default and description of each option, including nested options. */
export function optionRows(shape: Readonly<Record<string, Schema>>, path = ''): string[][] {
  return Object.entries(shape).flatMap(([key, schema]) => {
    const { shape: inner, byDefault, isOptional, help } = optionOf(schema);
    const name = `${path}${key}`;
    const isSection = inner !== undefined;
    const standard =
      isSection || byDefault === undefined ? (isOptional ? 'none' : 'required') : `\`${textOf(byDefault)}\``;
    const own = isSection && help === '' ? [] : [[`\`${name}\``, isSection && !isOptional ? '' : standard, help]];
    return [...own, ...(isSection ? optionRows(inner, `${name}.`) : [])];
  });
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Renders a table of the options in a section of the configuration, from its schema. */
export function optionTable(schema: Schema): string {
  return table(['option', 'default', 'what it does'], optionRows(optionOf(schema).shape ?? {}));
}
