import { stringify } from 'yaml';
import type { z } from 'zod';

/**
 * Those parts of zod's internal schema definitions that this file reads. zod has no public API for traversing a schema.
 */
interface Inside {
  readonly type: string;
  readonly innerType?: z.ZodType;
  readonly in?: z.ZodType;
  readonly out?: z.ZodType;
  readonly shape?: Readonly<Record<string, z.ZodType>>;
  readonly entries?: Readonly<Record<string, string>>;
  readonly defaultValue?: unknown;
}

/** An option, or a section of options. */
interface Option {
  readonly description: string;
  /** Default value; undefined if there is none. */
  readonly value: unknown;
  /** Options in a section; undefined for a single option. */
  readonly children: ReadonlyMap<string, Option> | undefined;
  /** Allowed values; empty if the option does not have a fixed set of values. */
  readonly choices: readonly string[];
}

const WIDTH = 118;
/** If at least this number of probes describe a key identically, the template describes it only once. */
const SHARED_BY = 3;

function insideOf(schema: z.ZodType): Inside {
  return schema.def as unknown as Inside;
}

/** Returns the input or the output schema of a pipe, whichever describes the value as it is written in the document. */
function written({ in: before, out }: Inside): z.ZodType {
  const side = before !== undefined && insideOf(before).type !== 'transform' ? before : out;
  if (side === undefined) throw new Error('a pipe without sides');
  return side;
}

function optionOf(schema: z.ZodType, description = '', value: unknown = undefined): Option {
  const inside = insideOf(schema);
  const described = description === '' ? (schema.description ?? '') : description;
  const given = value === undefined ? inside.defaultValue : value;
  if (inside.type === 'pipe') return optionOf(written(inside), described, given);
  if (inside.innerType !== undefined) return optionOf(inside.innerType, described, given);
  const children = inside.shape && childrenOf(inside.shape, given as Record<string, unknown> | undefined);
  return { description: described, value: given, children, choices: Object.keys(inside.entries ?? {}) };
}

function childrenOf(
  shape: Readonly<Record<string, z.ZodType>>,
  given: Record<string, unknown> | undefined,
): Map<string, Option> {
  return new Map(Object.entries(shape).map(([key, schema]) => [key, optionOf(schema, '', given?.[key])]));
}

/** Wraps a comment. @param hanging additional indentation of all lines but the first */
function comment(text: string, indent: string, hanging = ''): string[] {
  const lines: string[] = [];
  let line = `${indent}#`;
  for (const word of text.split(' ')) {
    if (line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = `${indent}#${hanging}`;
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}

function flow(value: unknown): string {
  return stringify(value, { collectionStyle: 'flow', lineWidth: 0 }).trim();
}

/**
 * Renders an option. An option without a default is commented out twice, so that uncommenting a section once results in
 * its defaults.
 */
function render(key: string, option: Option, indent: string): string[] {
  const { description, value, children, choices } = option;
  const about = description === '' ? [] : comment(description, indent);
  if (children !== undefined && children.size > 0) {
    const inner = [...children].flatMap(([name, child]) => render(name, child, `${indent}  `));
    const section = [`${indent}${key}:`, ...inner];
    return [...about, ...(value === undefined ? section.map((line) => unset(line, indent)) : section)];
  }
  if (value !== undefined) return [...about, `${indent}${key}: ${flow(value)}`];
  // Options without a description are internal.
  return description === '' ? [] : [...about, unset(`${indent}${key}: ${choices.join(' | ') || '…'}`, indent)];
}

function unset(line: string, indent: string): string {
  return `${indent}# ${line.slice(indent.length)}`;
}

/** Returns the keys for which at least `SHARED_BY` probes have the same description. */
function sharedKeys(probes: ReadonlyMap<string, Option>): Map<string, Option[]> {
  const found = new Map<string, Option[]>();
  for (const { children } of probes.values()) {
    for (const [key, option] of children ?? []) {
      if (option.description !== '') found.set(key, [...(found.get(key) ?? []), option]);
    }
  }
  for (const [key, options] of found) {
    const isSame = options.every(({ description }) => description === options[0]?.description);
    if (!isSame || options.length < SHARED_BY) found.delete(key);
  }
  return found;
}

/** Renders a value as YAML on one line. */
function valueText({ value, children, choices }: Option): string {
  const inner = [...(children ?? [])].map(([key, child]) => `${key}: ${valueText(child)}`);
  if (inner.length > 0) return `{ ${inner.join(', ')} }`;
  return value === undefined ? choices.join(' | ') || '…' : flow(value);
}

function isOneValue(options: readonly Option[]): boolean {
  return new Set(options.map(valueText)).size === 1;
}

function renderShared(shared: ReadonlyMap<string, readonly Option[]>, probes: number, indent: string): string[] {
  const rows = [...shared].flatMap(([key, options]) => {
    const [first] = options;
    if (first === undefined) return [];
    const value = isOneValue(options) ? valueText(first) : '…';
    const who = options.length === probes ? '' : ` (${options.length} of the ${probes} probes)`;
    return comment(`- ${key}: ${value} — ${first.description}${who}`, indent, '  ');
  });
  return [...comment('Many probes have the following options. Each probe has its own setting:', indent), ...rows];
}

function renderProbes(section: Option, summaries: ReadonlyMap<string, string>, indent: string): string[] {
  const probes = section.children ?? new Map<string, Option>();
  const shared = sharedKeys(probes);
  const lines = renderShared(shared, probes.size, indent);
  for (const [name, { children }] of probes) {
    lines.push(...comment(summaries.get(name) ?? '', indent), `${indent}${name}:`);
    for (const [key, option] of children ?? []) {
      const options = shared.get(key);
      if (options === undefined) lines.push(...render(key, option, `${indent}  `));
      else if (!isOneValue(options)) lines.push(...render(key, { ...option, description: '' }, `${indent}  `));
    }
  }
  return lines;
}

/**
 * Renders a configuration document that contains every option of the schema with its default. All options but the first
 * are commented out. The first one is active, because an empty document would be invalid.
 * @param summaries summary of each probe, by name
 */
export function configTemplate(schema: z.ZodType, summaries: ReadonlyMap<string, string>): string {
  const { children = new Map<string, Option>() } = optionOf(schema);
  const lines: string[] = [];
  for (const [key, option] of children) {
    const section = key === 'probes' ? ['probes:', ...renderProbes(option, summaries, '  ')] : render(key, option, '');
    lines.push(...(lines.length === 0 ? section : section.map((line) => `# ${line}`)));
  }
  return `${lines.join('\n')}\n`;
}
