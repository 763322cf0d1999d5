import { registerHooks } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Preloaded by `make test-asan`, so that every thread and child process uses the sanitized build. */
const root = join(import.meta.dirname, '../..');
const library = pathToFileURL(join(root, 'lib/')).href;
const addon = pathToFileURL(join(root, 'build/asan/bpf_napi.node')).href;

registerHooks({
  resolve: (specifier, context, next) =>
    specifier.endsWith('/bpf_napi.node') && context.parentURL?.startsWith(library)
      ? { url: addon, shortCircuit: true }
      : next(specifier, context),
});
