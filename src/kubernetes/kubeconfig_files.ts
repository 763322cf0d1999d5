import { dirname, join, resolve } from 'node:path';
import { parse } from 'yaml';
import type { Files } from '#files/files.ts';

const BYTES_MAX = 4 * 1024 * 1024;
/** Without what takes a time that grows with the square of the text: errors with their lines, and each key beside each other one. */
const YAML_OPTIONS = { prettyErrors: false, uniqueKeys: false } as const;

/**
 * Reads what the client library is going to read, and waits for: it does so in this thread, where a pipe or a file system that hangs
 * would stop everything.
 * @throws an error that names the variable and the file. One that is missing or malformed is the library's to tell
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

/** The files that a kubeconfig names, by the field that does, wherever that is: the library itself reads some while it parses. */
function filesOf(text: string, folder: string): [string, string][] {
  const named: [string, string][] = [];
  try {
    const take = (key: unknown, value: unknown) => {
      if (FIELDS.includes(String(key)) && typeof value === 'string') named.push([String(key), resolve(folder, value)]);
      return value;
    };
    parse(text, take, YAML_OPTIONS);
  } catch {
    // Malformed.
  }
  return named;
}
