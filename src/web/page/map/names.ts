import type { MapNode } from '#api/map.ts';
import { visible } from '#core/inert.ts';

/** Names for kinds of peers that have no name of their own. */
const NAMES: Readonly<Record<string, string>> = {
  external: 'outside',
  unknown: 'unknown',
  pending: 'not named yet',
  node: 'the node',
  self: 'itself',
};

/** Returns the name of a box, without the namespace. Characters that could change the direction of text are escaped. */
export function nameOf({ kind, name }: MapNode): string {
  return visible(name === '' ? (NAMES[kind] ?? kind) : name);
}

export function fullNameOf(node: MapNode): string {
  const name = nameOf(node);
  return node.namespace === '' ? name : `${visible(node.namespace)}/${name}`;
}

/** Letters of scripts that are written from right to left. */
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;

/** Isolates a right-to-left name, so that it does not change the order of the surrounding text. */
export function isolated(name: string): string {
  return RIGHT_TO_LEFT.test(name) ? `\u2068${name}\u2069` : name;
}

export function isOutside({ kind }: MapNode): boolean {
  return kind === 'external' || kind === 'unknown' || kind === 'pending' || kind === 'hidden';
}
