import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { constants, gzipSync } from 'node:zlib';
import { build, type Plugin } from 'esbuild';

const KUBERNETES = 'kubernetes';

/**
 * The client library of Kubernetes is in a bundle of its own, which only who asks the API loads. It does nothing on import, but does not
 * say so: what is not used of its 600 types can be left out.
 */
const kubernetesApart: Plugin = {
  name: 'kubernetes-apart',
  setup(context) {
    context.onResolve({ filter: /\/kubernetes\/session\.ts$/, namespace: 'file' }, ({ kind }) =>
      kind === 'dynamic-import' ? { path: `./${KUBERNETES}.js`, external: true } : undefined,
    );
    context.onResolve({ filter: /./ }, async ({ path, pluginData, ...options }) => {
      const { importer } = options;
      if (
        pluginData === 'resolved' ||
        !(path.includes('@kubernetes/client-node') || importer.includes('@kubernetes/client-node'))
      ) {
        return undefined;
      }
      const found = await context.resolve(path, { ...options, pluginData: 'resolved' });
      return found.path.includes('@kubernetes/client-node') ? { ...found, sideEffects: false } : found;
    });
  },
};

const WEB = 'dist/web';

/** Builds the page at `/` into dist/web: its script and its style with a hash in the name, and everything compressed as well. */
async function bundlePage(): Promise<void> {
  const { outputFiles } = await build({
    entryPoints: ['src/web/page/main.tsx', 'src/web/page/style.css'],
    outdir: WEB,
    entryNames: '[name]-[hash]',
    bundle: true,
    format: 'esm',
    target: ['chrome116', 'firefox124', 'safari17.4'],
    minify: true,
    legalComments: 'none',
    logLevel: 'warning',
    write: false,
  });
  const files = new Map(outputFiles.map(({ path, contents }) => [basename(path), Buffer.from(contents)]));
  const named = (end: string) => `/web/${[...files.keys()].find((name) => name.endsWith(end))}`;
  const html = readFileSync('src/web/page/index.html', 'utf8')
    .replace('{{style}}', named('.css'))
    .replace('{{script}}', named('.js'));
  files.set('index.html', Buffer.from(html));
  mkdirSync(WEB, { recursive: true });
  for (const [name, content] of files) {
    writeFileSync(`${WEB}/${name}`, content);
    writeFileSync(`${WEB}/${name}.gz`, gzipSync(content, { level: constants.Z_BEST_COMPRESSION }));
  }
  for (const path of globSync(`${WEB}/*`)) if (!files.has(basename(path, '.gz'))) rmSync(path);
}

await bundlePage();

/**
 * Bundles the agent into dist/: starting from the sources takes twice the memory and three times as long. Names are kept, so
 * that stacks and profiles can be read.
 */
const { metafile } = await build({
  entryPoints: {
    main: 'src/main.ts',
    kernel_thread: 'src/kernel_thread.ts',
    [KUBERNETES]: 'src/kubernetes/session.ts',
  },
  plugins: [kubernetesApart],
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
