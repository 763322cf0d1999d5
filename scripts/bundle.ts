import { globSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { constants, gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { bundleAgent } from './bundle_agent.ts';

const WEB = 'dist/web';

/**
 * Builds the web page into dist/web: the script and the style sheet, with content hashes in their names, and a gzip
 * copy of each file. Returns the paths of the bundled sources.
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

const metafile = await bundleAgent();
// test/unit/bundle.test.ts reads this file.
mkdirSync('.cache', { recursive: true });
writeFileSync('.cache/bundle.json', JSON.stringify(metafile));
for (const name of globSync('dist/*.js{,.map}')) if (!(name in metafile.outputs)) rmSync(name);

const inputs = [...Object.keys(metafile.inputs), ...(await bundlePage())];

// The licences of all bundled packages require that they are distributed with the bundle.
const packages = new Set(inputs.flatMap((path) => /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []));
const licences = [...packages].sort().map((path) => {
  const { name, version, license } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));
  const files = readdirSync(path).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file));
  return [`${name} ${version}, ${license}`, ...files.map((file) => readFileSync(join(path, file), 'utf8'))].join(
    '\n\n',
  );
});
writeFileSync('dist/LICENSES.txt', licences.join(`\n\n${'-'.repeat(80)}\n\n`));
