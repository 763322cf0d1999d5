import { createHash } from 'node:crypto';
import { parseDuration } from '#core/duration.ts';
import { type Labels, Selector } from '#core/selector.ts';

/** A YAML mapping. */
export type Mapping = Readonly<Record<string, unknown>>;

export type Path = readonly string[];

export function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * One layer of a document: the document excluding per-node overrides, or one of these overrides. Later layers take
 * precedence.
 */
export interface Layer {
  /** Path of the layer in the document, such as `['nodes', 'pool=edge']`. */
  readonly path: Path;
  readonly document: unknown;
}

/** Top-level key of the per-node overrides. */
export const NODES = 'nodes';

export function layersOf(document: unknown): readonly Layer[] {
  if (!isMapping(document)) return [{ path: [], document }];
  const { [NODES]: nodes, ...base } = document;
  const overrides = isMapping(nodes) ? Object.entries(nodes) : [];
  return [
    { path: [], document: base },
    ...overrides.map(([selector, override]) => ({ path: [NODES, selector], document: override ?? {} })),
  ];
}

/** Whether a valid layer applies to a node with these labels. */
export function holdsOn({ path: [, selector] }: Layer, labels: Labels): boolean {
  return selector === undefined || Selector.parse(selector).matches(labels);
}

/** A section of a probe that expires. After that, the document is applied as if the section were absent. */
export interface TimedSection {
  /** Hash of the path and the content of the section. */
  readonly id: string;
  readonly path: Path;
  readonly probe: string;
  /**
   * When the section expires, in milliseconds after it first became active (`for`) or in milliseconds since the epoch
   * (`until`).
   */
  readonly end: { readonly forMs: number } | { readonly untilMs: number };
}

/** Returns the probe sections of a layer, except sections that are not mappings. */
export function sectionsOf({ path, document }: Layer): { path: Path; probe: string; section: Mapping }[] {
  const probes = isMapping(document) ? document['probes'] : undefined;
  if (!isMapping(probes)) return [];
  return Object.entries(probes)
    .filter((entry): entry is [string, Mapping] => isMapping(entry[1]))
    .map(([probe, section]) => ({ path: [...path, 'probes', probe], probe, section }));
}

/** Returns the sections of a valid layer that expire. */
export function timedSectionsOf(layer: Layer): TimedSection[] {
  return sectionsOf(layer).flatMap(({ path, probe, section }) => {
    const end = endOf(section);
    return end === undefined ? [] : [{ id: idOf(path, section), path, probe, end }];
  });
}

const NANOSECONDS_IN_MILLISECOND = 1e6;

function endOf({ for: time, until }: Mapping): TimedSection['end'] | undefined {
  if (typeof time === 'string') return { forMs: (parseDuration(time) ?? 0) / NANOSECONDS_IN_MILLISECOND };
  return typeof until === 'string' ? { untilMs: Date.parse(until) } : undefined;
}

/** Returns a hash that does not depend on the order of keys. */
function idOf(path: Path, section: Mapping): string {
  const sorted = (_: string, value: unknown) =>
    isMapping(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value;
  return createHash('sha256')
    .update(JSON.stringify([path, section], sorted))
    .digest('hex');
}

/**
 * Merges valid layers into one document. Mappings are merged. Any other value replaces the value of earlier layers.
 * @param over IDs of expired sections, which are left out
 */
export function mergeLayers(layers: readonly Layer[], over: ReadonlySet<string>): Mapping {
  return layers
    .map((layer) => inForce(layer, over))
    .reduce<Mapping>((merged, layer) => merge(merged, layer) as Mapping, {});
}

/** Returns a layer without its expired sections. The remaining probe sections are in their long form. */
function inForce(layer: Layer, over: ReadonlySet<string>): Mapping {
  const document = layer.document as Mapping;
  if (!isMapping(document['probes'])) return document;
  const ended = new Set(timedSectionsOf(layer).flatMap(({ id, probe }) => (over.has(id) ? [probe] : [])));
  const probes = Object.entries(document['probes'])
    .filter(([probe]) => !ended.has(probe))
    .map(([probe, section]) => [probe, inFull(section)]);
  return { ...document, probes: Object.fromEntries(probes) };
}

/**
 * Returns a probe section in its long form, without `for` and `until`. `packetloss: false` and `packetloss:` are short
 * forms.
 */
function inFull(section: unknown): Mapping {
  if (typeof section === 'boolean') return { enabled: section };
  const { for: _for, until: _until, ...rest } = (section ?? {}) as Mapping;
  return rest;
}

/** Merges two values. A key without a value keeps the value of the earlier layers. */
function merge(under: unknown, over: unknown): unknown {
  if (!isMapping(under)) return over;
  if (over === null || over === undefined) return under;
  if (!isMapping(over)) return over;
  const entries = Object.entries(over).map(([key, value]) => [key, merge(under[key], value)]);
  return { ...under, ...Object.fromEntries(entries) };
}
