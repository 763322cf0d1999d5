import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ICONS } from '../flows/icon.tsx';
import { KIND_WORDS } from './texts.ts';

const css = (name: string) => readFileSync(new URL(name, import.meta.url), 'utf8');
const BASE = css('../base.css');
const MAP = css('./map.css');

type Rgb = readonly [number, number, number];

/** Returns the custom properties of a colour scheme. Colours have three or six hexadecimal digits. */
function tokensOf(scheme: 'light' | 'dark'): ReadonlyMap<string, Rgb> {
  const parts = [BASE, MAP].map((text) => text.split('@media (prefers-color-scheme: dark)'));
  const text = parts.map(([light = '', dark = '']) => (scheme === 'light' ? light : light + blockOf(dark))).join('\n');
  return new Map(
    [...text.matchAll(/--([\w-]+): #([0-9a-f]{3,6});/g)].map(([, name = '', hex = '']) => [name, rgbOf(hex)]),
  );
}

function blockOf(text: string): string {
  return text.slice(0, text.indexOf('\n}\n'));
}

function rgbOf(hex: string): Rgb {
  const digits = hex.length === 3 ? [...hex].map((digit) => digit + digit).join('') : hex;
  return [0, 2, 4].map((at) => linear(Number.parseInt(digits.slice(at, at + 2), 16) / 255)) as unknown as Rgb;
}

/** Converts a component of an sRGB colour to linear light (IEC 61966-2-1). */
function linear(value: number): number {
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}

/** Simulations of full dichromacy in linear light (Machado, Oliveira and Fernandes 2009, severity 1.0). */
const DEUTERANOPIA = [
  [0.367322, 0.860646, -0.227968],
  [0.280085, 0.672501, 0.047413],
  [-0.01182, 0.04294, 0.968881],
] as const;
const PROTANOPIA = [
  [0.152286, 1.052583, -0.204868],
  [0.114503, 0.786281, 0.099216],
  [-0.003882, -0.048116, 1.051998],
] as const;

type Sight = (colour: Rgb) => Rgb;
const seenWith =
  (matrix: readonly Rgb[]): Sight =>
  (colour) =>
    matrix.map((row) =>
      Math.min(1, Math.max(0, row[0] * colour[0] + row[1] * colour[1] + row[2] * colour[2])),
    ) as unknown as Rgb;
/** Kinds of colour vision. The first one also covers greyscale, because contrast depends only on luminance. */
const SIGHTS: readonly (readonly [string, Sight])[] = [
  ['all colours and in grey', (colour) => colour],
  ['deuteranopia', seenWith(DEUTERANOPIA)],
  ['protanopia', seenWith(PROTANOPIA)],
];

/** Relative luminance (WCAG 2.2). */
function luminance([red, green, blue]: Rgb): number {
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(a: Rgb, b: Rgb): number {
  const [low = 0, high = 0] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

/** Returns the custom property that a rule uses as the value of a CSS property. */
function variableOf(selector: string, property: string): string {
  const rule = MAP.split(`\n${selector} {`)[1]?.split('}')[0] ?? '';
  return new RegExp(`\\b${property}: var\\(--([\\w-]+)\\)`).exec(rule)?.[1] ?? '';
}

describe.each(['light', 'dark'] as const)('in %s mode', (scheme) => {
  const tokens = tokensOf(scheme);
  const colour = (name: string) => tokens.get(name) ?? ([Number.NaN, Number.NaN, Number.NaN] as const);

  it.each(SIGHTS)('bad and worth a look are told apart by their labels with %s', (_, sight) => {
    const at = (name: string) => sight(colour(name));
    const [bad, look] = [variableOf('.tag.alert .pill', 'fill'), variableOf('.tag .pill', 'fill')];
    expect([bad, look]).toEqual(['bad', 'warn-ground']);
    expect(contrast(at(bad), at(look))).toBeGreaterThan(3);
    expect(contrast(at(bad), at(variableOf('.tag.alert text', 'fill')))).toBeGreaterThan(4.5);
    expect(contrast(at(look), at('warn'))).toBeGreaterThan(4.5);
  });

  it.each(SIGHTS)('lines in trouble stand out from bands with %s', (_, sight) => {
    for (const name of ['bad', 'warn']) {
      expect(contrast(sight(colour(name)), sight(colour('band')))).toBeGreaterThan(4.5);
    }
    expect(contrast(sight(colour('edge')), sight(colour('band')))).toBeGreaterThan(3);
  });
});

it('each kind of trouble has a sign, and a pattern or a solid line, of its own', () => {
  const kinds = Object.keys(KIND_WORDS);
  expect(new Set(Object.values(ICONS)).size).toBe(kinds.length);
  const patterns = kinds.map(
    (kind) => new RegExp(`\\.wire\\.${kind} \\.stroke \\{\\s*stroke-dasharray: ([^;]+);`).exec(MAP)?.[1],
  );
  expect(new Set(patterns).size).toBe(kinds.length);
  expect(patterns.filter((pattern) => pattern === undefined)).toHaveLength(1);
});
