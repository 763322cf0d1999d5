import { globSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
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
    context.onResolve({ filter: /[/#]kubernetes\/session\.ts$/, namespace: 'file' }, ({ kind }) =>
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

/**
 * Builds the page at `/` into dist/web: its script and its style with a hash in the name, and everything compressed as well.
 * Returns what went in.
 */
async function bundlePage(): Promise<string[]> {
  const { outputFiles, metafile } = await build({
    entryPoints: ['src/web/page/main.tsx', 'src/web/page/style.css'],
    outdir: WEB,
    entryNames: '[name]-[hash]',
    bundle: true,
    format: 'esm',
    target: ['chrome116', 'firefox124', 'safari17.4'],
    minify: true,
    legalComments: 'none',
    logLevel: 'warning',
    metafile: true,
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
  return Object.keys(metafile.inputs);
}

/**
 * A module that is not taken as it is. An import of node:http reads all that it exports, also what makes Node.js load its client for fetch(),
 * which takes memory and time. What requires it does not. Express brings a parser for the bodies of requests, with tables of all encodings;
 * an interface that is read-only parses none.
 */
const lighter: Plugin = {
  name: 'lighter',
  setup(context) {
    const instead = new Map([
      ['http', "module.exports = require('http')"],
      ['body-parser', ''],
    ]);
    context.onResolve({ filter: /^(node:http|body-parser)$/ }, ({ path, namespace }) =>
      namespace === 'lighter' ? undefined : { path: path.replace('node:', ''), namespace: 'lighter' },
    );
    context.onLoad({ filter: /./, namespace: 'lighter' }, ({ path }) => ({ contents: instead.get(path) ?? '' }));
  },
};

/**
 * Bundles the agent into dist/: starting from the sources takes twice the memory and three times as long. Names are kept, so
 * that stacks and profiles can be read.
 */
const { metafile } = await build({
  entryPoints: {
    main: 'src/main.ts',
    kernel_thread: 'src/kernel/thread.ts',
    [KUBERNETES]: 'src/kubernetes/session.ts',
  },
  plugins: [kubernetesApart, lighter],
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
  // Packages in the older module format call require() for what Node.js has built in.
  banner: {
    js: "import { createRequire as netsondeRequire } from 'node:module'; const require = netsondeRequire(import.meta.url);",
  },
});
for (const name of globSync('dist/chunk-*')) if (!(name in metafile.outputs)) rmSync(name);

const inputs = [...Object.keys(metafile.inputs), ...(await bundlePage())];

/** Whoever passes the bundle on has to pass on the licences of what is in it. */
const packages = new Set(inputs.flatMap((path) => /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []));
const licences = [...packages].sort().map((path) => {
  const { name, version, license } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));
  const files = readdirSync(path).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file));
  return [`${name} ${version}, ${license}`, ...files.map((file) => readFileSync(join(path, file), 'utf8'))].join(
    '\n\n',
  );
});
writeFileSync('dist/LICENSES.txt', licences.join(`\n\n${'-'.repeat(80)}\n\n`));
