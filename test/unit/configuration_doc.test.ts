import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { ConfigReader } from '#config/load.ts';
import { PROBES } from '#probes/index.ts';

const reader = new ConfigReader(PROBES);

function examplesOf(file: string): string[] {
  const text = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
  return [...text.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, yaml = '']) => yaml);
}

it.each(['README.md', 'docs/tutorial.md', 'docs/configuration.md'])(
  'every example in %s is a valid configuration',
  (file) => {
    const examples = examplesOf(file).filter((yaml) => !yaml.startsWith('resources:'));
    expect(examples.length).toBeGreaterThan(0);
    for (const example of examples) expect(() => reader.parse(example), example).not.toThrow();
  },
);

it('the examples of the probes show the defaults', () => {
  const [, ...probes] = examplesOf('docs/configuration.md');
  for (const example of probes) expect(reader.parse(example), example).toEqual(reader.defaults);
});
