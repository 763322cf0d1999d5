import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { pathToFileURL } from 'node:url';

// Loads the copies of TypeScript modules that strip_types.ts has written beside this file. The working directory is the
// project's.
const project = pathToFileURL(`${process.cwd()}/`).href;

registerHooks({
  load(url, context, next) {
    const source = url.startsWith(project) && url.endsWith('.ts') ? copyOf(url.slice(project.length)) : undefined;
    return source === undefined ? next(url, context) : { format: 'module', source, shortCircuit: true };
  },
});

function copyOf(path) {
  try {
    return readFileSync(new URL(path, import.meta.url));
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
    return undefined;
  }
}
