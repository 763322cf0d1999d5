import { globSync, rmSync } from 'node:fs';
import { build } from 'esbuild';

/**
 * Bundles the agent into dist/: starting from the sources takes twice the memory and three times as long. Names are kept, so
 * that stacks and profiles can be read.
 */
const { metafile } = await build({
  entryPoints: ['src/main.ts', 'src/kernel_thread.ts'],
  outdir: 'dist',
  bundle: true,
  // What only some configurations need is a file of its own, loaded when it is asked for.
  splitting: true,
  chunkNames: 'chunk-[hash]',
  platform: 'node',
  format: 'esm',
  target: 'node24',
  minifySyntax: true,
  minifyWhitespace: true,
  sourcemap: true,
  sourcesContent: false,
  legalComments: 'none',
  logLevel: 'warning',
  metafile: true,
  // winston-loki would use it for protobuf, which has no structured metadata.
  external: ['snappy'],
  // Packages in the older module format call require() for what Node.js has built in.
  banner: {
    js: "import { createRequire as netsondeRequire } from 'node:module'; const require = netsondeRequire(import.meta.url);",
  },
});
for (const name of globSync('dist/chunk-*')) if (!(name in metafile.outputs)) rmSync(name);
