import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { expect, it } from 'vitest';

it('the script of the page contains no package but preact: schemas of the API stay out', async () => {
  const { metafile } = await build({
    entryPoints: [fileURLToPath(new URL('../../src/web/page/main.tsx', import.meta.url))],
    outdir: '/nowhere',
    bundle: true,
    format: 'esm',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    write: false,
    metafile: true,
  });
  const packages = Object.keys(metafile.inputs).flatMap((path) => /node_modules\/([^/]+)/.exec(path)?.[1] ?? []);
  expect([...new Set(packages)]).toEqual(['preact']);
});
