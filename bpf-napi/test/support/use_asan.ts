import { registerHooks } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Preloaded by `make test-asan`: the library gets the sanitized build, in every thread and child process. */
const root = join(import.meta.dirname, '../..');
const library = pathToFileURL(join(root, 'lib/')).href;
const addon = pathToFileURL(join(root, 'build/asan/bpf_napi.node')).href;

registerHooks({
  resolve: (specifier, context, next) =>
    specifier.endsWith('/bpf_napi.node') && context.parentURL?.startsWith(library)
      ? { url: addon, shortCircuit: true }
      : next(specifier, context),
});
