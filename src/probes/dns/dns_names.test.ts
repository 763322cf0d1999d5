import { expect, it } from 'vitest';
import { mostAmplified, nameText } from './dns_names.ts';

function wire(...labels: string[]): Uint8Array {
  return Buffer.concat([...labels.flatMap((label) => [Buffer.of(label.length), Buffer.from(label)]), Buffer.of(0)]);
}

const text = (name: Uint8Array) => nameText(name, name.length);

it('reads names in lower case', () => {
  expect(text(wire('DB', 'Default', 'svc'))).toBe('db.default.svc');
  expect(text(wire())).toBe('.');
});

it('escapes what is no plain text', () => {
  expect(text(wire('a.b\\c', ' \u0001'))).toBe('a\\.b\\\\c.\\032\\001');
});

it('marks a name of which only the start is known', () => {
  const name = wire('a'.repeat(60), 'b'.repeat(60), 'c'.repeat(60));
  expect(nameText(name.subarray(0, 100), name.length)).toBe(`${'a'.repeat(60)}.${'b'.repeat(38)}…`);
  expect(nameText(name.subarray(0, 61), name.length)).toBe(`${'a'.repeat(60)}.…`);
});

it('never fails or invents a character, whatever the bytes are', () => {
  for (let seed = 0; seed < 2_000; seed++) {
    const bytes = Uint8Array.from({ length: seed % 128 }, (_, index) => (seed * 31 + index * index * 17) & 0xff);
    expect(nameText(bytes, bytes.length + (seed % 3))).toMatch(/^[!-~…]*$/);
  }
});

it('finds the name that a search list has completed', () => {
  const names = ['db.shop.svc.cluster.local', 'db.svc.cluster.local', 'db.cluster.local', 'db.eu.example', 'db'];
  expect(mostAmplified(new Map([...names, 'other'].map((name) => [name, 1])))).toEqual({ name: 'db', askedAs: 5 });
});

it('knows the labels that all names have in common', () => {
  const names = ['api.example.com.shop.svc.cluster.local', 'api.example.com.cluster.local'];
  expect(mostAmplified(new Map(names.map((name) => [name, 3])))).toEqual({ name: 'api.example.com', askedAs: 2 });
});

it('finds nothing in names that have nothing in common', () => {
  expect(mostAmplified(new Map(['x1.example.com', 'x2.example.com'].map((name) => [name, 1])))).toBeUndefined();
});
