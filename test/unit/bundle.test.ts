import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { bundleAgent } from '../../scripts/bundle_agent.ts';

const ACCOUNT = new URL('../../.cache/bundle.json', import.meta.url);
/** The contents of each file in dist/. scripts/setup writes this report when it builds the bundle. */
const { outputs }: Awaited<ReturnType<typeof bundleAgent>> = JSON.parse(readFileSync(ACCOUNT, 'utf8'));

function outputOf(source: string): string {
  const found = Object.keys(outputs).find((name) => outputs[name]?.entryPoint === source);
  if (found === undefined) throw new Error(`${source} has no bundle`);
  return found;
}

/** Returns the given bundles and all bundles that they import statically. */
function loadedWith(...sources: readonly string[]): string[] {
  const names = new Set(sources.map(outputOf));
  for (const name of names) {
    for (const { path, kind, external } of outputs[name]?.imports ?? []) {
      if (kind === 'import-statement' && external !== true) names.add(path);
    }
  }
  return [...names];
}

/** Returns the source files in bundles, except files that contribute no code. */
function inputsOf(names: readonly string[]): string[] {
  return names.flatMap((name) =>
    Object.entries(outputs[name]?.inputs ?? {}).flatMap(([path, { bytesInOutput }]) =>
      bytesInOutput > 0 ? [path] : [],
    ),
  );
}

function packagesIn(names: readonly string[]): string[] {
  const packages = inputsOf(names).flatMap((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []);
  return [...new Set(packages)].sort();
}

const OPTIONAL = [/^@kubernetes\//, /^@opentelemetry\//, /^bcryptjs$/];
const isOptional = (name: string) => OPTIONAL.some((pattern) => pattern.test(name));

it('an agent loads neither the client of Kubernetes nor OpenTelemetry nor bcrypt before they are needed', () => {
  const loaded = packagesIn(loadedWith('src/main.ts', 'src/commands/serve.ts', 'src/kernel/thread.ts'));
  expect(loaded).toContain('express');
  expect(loaded.filter(isOptional)).toEqual([]);
  // The packages must still be in some bundle.
  const all = packagesIn(Object.keys(outputs));
  for (const pattern of OPTIONAL) expect(all.some((name) => pattern.test(name))).toBe(true);
});

it('main.js loads only the requested command, and no package', () => {
  const loaded = loadedWith('src/main.ts');
  expect(packagesIn(loaded)).toEqual([]);
  expect(inputsOf(loaded).filter((path) => /src\/commands\/(?!usage|options)/.test(path))).toEqual([]);
  const serve = inputsOf(loadedWith('src/main.ts', 'src/commands/serve.ts'));
  expect(serve).toContain('src/agent/agent.ts');
  expect(serve.filter((path) => /src\/commands\/(check|convert|events|probes|kubeskoop)/.test(path))).toEqual([]);
});

it('the kernel thread has no servers, clients or log of its own', () => {
  expect(packagesIn(loadedWith('src/kernel/thread.ts'))).toEqual(['zod']);
  expect(
    inputsOf(loadedWith('src/kernel/thread.ts')).filter((path) => /^src\/(http|web|delivery|agent)\//.test(path)),
  ).toEqual([]);
});

it('modules of Node.js are loaded by name: an import statement would load all their dependencies', () => {
  const loaded = loadedWith('src/main.ts', 'src/commands/serve.ts', 'src/kernel/thread.ts');
  const imports = loaded.flatMap((name) => outputs[name]?.imports ?? []);
  expect(imports.filter(({ kind, external }) => kind === 'import-statement' && external === true)).toEqual([]);
});
