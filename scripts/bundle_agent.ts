import { readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join } from 'node:path';
import { build, type Metafile, type Plugin } from 'esbuild';

const KUBERNETES = 'kubernetes';

/**
 * The client library of Kubernetes is in a separate bundle, loaded only to use the API. It does nothing on import, but does not
 * declare that: the unused ones of its 600 types can be left out.
 */
const kubernetesApart: Plugin = {
  name: 'kubernetes-apart',
  setup(context) {
    context.onResolve({ filter: /[/#]kubernetes\/session\.ts$/, namespace: 'file' }, ({ kind }) =>
      kind === 'dynamic-import' ? { path: `./${KUBERNETES}.js`, external: true } : undefined,
    );
    // Its files name each other in full, 10,000 times: resolving each by esbuild takes more than half of the build.
    context.onResolve({ filter: /^\.\.?\/.*\.js$/, namespace: 'file' }, ({ path, importer }) =>
      importer.split('/node_modules/').at(-1)?.startsWith('@kubernetes/client-node/')
        ? { path: join(dirname(importer), path), sideEffects: false }
        : undefined,
    );
    context.onResolve({ filter: /^@kubernetes\/client-node/ }, async ({ path, pluginData, ...options }) =>
      pluginData === 'resolved'
        ? undefined
        : { ...(await context.resolve(path, { ...options, pluginData: 'resolved' })), sideEffects: false },
    );
  },
};

/** Types of content that the agent serves. Types that no table names, such as NDJSON, are served as they are. */
const SERVED = ['application/json', 'text/css', 'text/event-stream', 'text/html', 'text/javascript', 'text/plain'];

/** Files of packages that are replaced, by their place in node_modules, with their replacement. */
const REPLACED = new Map([
  // Express parses bodies of requests, with tables of all encodings, and nested queries, and sends files. The interface is read-only, its
  // queries are flat, and the page's files are sent by src/web.
  ['body-parser/index.js', ''],
  ['qs/lib/index.js', ''],
  ['send/index.js', ''],
  ['serve-static/index.js', ''],
  ['mime-db/index.js', `module.exports = ${JSON.stringify(servedTypes())};`],
  // The log goes to stderr. Traces of winston itself, in colours, are for its developers.
  ['winston/lib/winston/transports/file.js', ''],
  ['winston/lib/winston/transports/http.js', ''],
  ['winston/lib/winston/transports/stream.js', ''],
  ['@dabh/diagnostics/node/index.js', "module.exports = require('./production.js');"],
]);

function servedTypes(): Record<string, unknown> {
  const all: Record<string, unknown> = JSON.parse(readFileSync('node_modules/mime-db/db.json', 'utf8'));
  return Object.fromEntries(SERVED.map((type) => [type, all[type]]));
}

const IMPORT = /^import (?:(\w+)|\{([^{}]*)\}) from ['"]([\w:/]+)['"];?$/gm;

/**
 * Loads built-in modules of Node.js by name. An import statement reads all exports of a module, which loads the code behind them: fetch(),
 * the Web's cryptography, reports.
 * @param code an ECMAScript module
 */
function takeBuiltInsByName(code: string): string {
  return code.replace(IMPORT, (statement, whole: string | undefined, names: string | undefined, module: string) => {
    if (!isBuiltin(module)) return statement;
    if (whole !== undefined) return `const ${whole} = /* @__PURE__ */ netsondeBuiltIn('${module}');`;
    const taken = (names ?? '').split(',').map((text) => text.trim().split(' as '));
    const constants = taken.flatMap(([name = '', as = name]) =>
      name === '' || name.startsWith('type ')
        ? []
        : [`const ${as} = /* @__PURE__ */ netsondeBuiltIn('${module}').${name};`],
    );
    // The number of lines stays, because stacks name them.
    return constants.join(' ') + statement.replace(/[^\n]/g, '');
  });
}

/** @param replaced collects the files that were replaced */
const lighter = (replaced: Set<string>): Plugin => ({
  name: 'lighter',
  setup(context) {
    context.onLoad({ filter: /\.(m?js|ts)$/, namespace: 'file' }, ({ path }) => {
      const place = path.split('/node_modules/').at(-1) ?? '';
      const contents = REPLACED.get(place);
      if (contents !== undefined) replaced.add(place);
      return {
        contents: contents ?? takeBuiltInsByName(readFileSync(path, 'utf8')),
        loader: path.endsWith('.ts') ? 'ts' : 'js',
      };
    });
  },
});

/**
 * Bundles the agent into dist/: starting from the sources takes twice the memory and three times as long. Names are kept, so
 * that stacks and profiles can be read.
 * @returns the inputs of each file
 * @throws if nothing imports a file of the replacements
 */
export async function bundleAgent(): Promise<Metafile> {
  const replaced = new Set<string>();
  const { metafile } = await build({
    entryPoints: {
      main: 'src/main.ts',
      kernel_thread: 'src/kernel/thread.ts',
      [KUBERNETES]: 'src/kubernetes/session.ts',
    },
    plugins: [kubernetesApart, lighter(replaced)],
    outdir: 'dist',
    bundle: true,
    // Code that only some configurations need is in a separate file, loaded on demand.
    splitting: true,
    chunkNames: '[name]-[hash]',
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
    // Packages in the older module format call require() for built-in modules of Node.js.
    banner: {
      js: [
        'const netsondeBuiltIn = process.getBuiltinModule;',
        "const require = netsondeBuiltIn('module').createRequire(import.meta.url);",
      ].join(' '),
    },
  });
  const absent = [...REPLACED.keys()].filter((place) => !replaced.has(place));
  if (absent.length > 0) throw new Error(`bundle: nothing imports ${absent.join(', ')}: was it renamed?`);
  return metafile;
}
