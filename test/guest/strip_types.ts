import { copyFileSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const LOADER = fileURLToPath(new URL('./stripped_loader.mjs', import.meta.url));
/** The modules that checks may import. Types of any other module are stripped in the guest. */
const MODULES = ['src/**/*.ts', 'test/{guest,scenarios,support}/**/*.ts', 'bpf-napi/lib/**/*.ts'];

/**
 * Writes JavaScript copies of all modules, and their loader, into the directory that is given as the argument. Code in
 * the copies keeps its line and column numbers.
 */
const [folder = ''] = process.argv.slice(2);
for (const path of globSync(MODULES, { cwd: PROJECT, exclude: ['src/web/page/**'] })) {
  const copy = join(folder, path);
  mkdirSync(dirname(copy), { recursive: true });
  writeFileSync(copy, stripTypeScriptTypes(readFileSync(join(PROJECT, path), 'utf8')));
}
copyFileSync(LOADER, join(folder, 'loader.mjs'));
