import * as z from 'zod';
import { table } from './markdown.ts';

/** Those parts of a JSON schema that this file reads. */
interface Schema {
  readonly type?: string | readonly string[];
  readonly format?: string;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly description?: string;
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly propertyNames?: Schema;
  readonly additionalProperties?: Schema | boolean;
  readonly required?: readonly string[];
}

/** Renders a table of all fields of a JSON value, including nested ones, with the path, type and meaning of each. */
export function fieldTable(schema: z.ZodType): string {
  return table(['field', 'type', 'meaning'], fieldRows(z.toJSONSchema(schema) as Schema, ''));
}

function fieldRows({ properties = {}, required = [] }: Schema, path: string): string[][] {
  return Object.entries(properties).flatMap(([key, field]) => {
    const name = `${path}${key}`;
    const rest = required.includes(key) ? '' : ', optional';
    const row = [`\`${name}\``, `${typeText(field)}${rest}`, field.description ?? ''];
    const [value = field] = field.anyOf ?? [];
    return [row, ...fieldRows(value.items ?? value, value.items === undefined ? `${name}.` : `${name}[].`)];
  });
}

function typeText(schema: Schema): string {
  const { type = 'any', format, anyOf, items, propertyNames, additionalProperties } = schema;
  if (anyOf !== undefined) return anyOf.map(typeText).join(' or ');
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${value}\``).join(' ');
  if (typeof type !== 'string') return type.join(' or ');
  if (format === 'date-time') return 'time';
  if (type === 'integer') return schema.minimum === 0 ? 'count' : 'integer';
  if (items !== undefined) return items.properties === undefined ? `list of ${typeText(items)}` : 'list';
  if (propertyNames === undefined) return type;
  const values = typeof additionalProperties === 'object' ? typeText(additionalProperties) : 'any';
  const keys = propertyNames.enum === undefined ? '' : ` by ${typeText(propertyNames)}`;
  return `object of ${values}${keys}`;
}
