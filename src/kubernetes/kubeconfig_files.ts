import { dirname, join, resolve } from 'node:path';
import { parse } from 'yaml';
import type { Files } from '#files/files.ts';

const BYTES_MAX = 4 * 1024 * 1024;
/**
 * Disables two features that take quadratic time: error messages with line numbers, and the check for duplicate keys.
 */
const YAML_OPTIONS = { prettyErrors: false, uniqueKeys: false } as const;

/**
 * Reads the files that the client library is going to read, to detect problems first. The library reads files
 * synchronously, so a pipe or a hung file system would block this thread.
 * @throws an error that names the variable and the file. Missing and malformed files are not errors here, because the
 *   library reports them.
 */
export async function checkKubeconfig(files: Files, env: NodeJS.ProcessEnv): Promise<void> {
  const given = env['KUBECONFIG'] ?? '';
  const what = given === '' ? '~/.kube/config' : 'KUBECONFIG';
  const paths =
    given === '' ? [join(env['HOME'] ?? '/', '.kube/config')] : given.split(':').filter((path) => path !== '');
  for (const path of paths) {
    const text = await readIfThere(files, path, what);
    if (text === undefined) continue;
    for (const [field, file] of filesOf(text, dirname(path))) await readIfThere(files, file, `${field} of ${path}`);
  }
}

async function readIfThere(files: Files, path: string, what: string): Promise<string | undefined> {
  try {
    return await files.readText(path, BYTES_MAX);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== undefined) return undefined;
    throw new Error(`${what}: ${(error as Error).message}`);
  }
}

const FIELDS = ['certificate-authority', 'client-certificate', 'client-key', 'token-file', 'tokenFile'];

/**
 * Returns the files that a kubeconfig refers to, each with the name of its field. Searches the whole document, because
 * the library reads some of these files while it parses.
 */
function filesOf(text: string, folder: string): [string, string][] {
  const named: [string, string][] = [];
  try {
    const take = (key: unknown, value: unknown) => {
      if (FIELDS.includes(String(key)) && typeof value === 'string') named.push([String(key), resolve(folder, value)]);
      return value;
    };
    parse(text, take, YAML_OPTIONS);
  } catch {
    // The library reports that the kubeconfig is malformed.
  }
  return named;
}
