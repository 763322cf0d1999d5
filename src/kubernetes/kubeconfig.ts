import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { parse } from 'yaml';

/** Fields of a user in a kubeconfig that the client library does not know. */
interface FileUser {
  readonly name?: string;
  readonly user?: { readonly tokenFile?: string };
}

/**
 * Reads where the API server is, and our credentials: from the files of $KUBECONFIG, ~/.kube/config, or the service account of the Pod. As with
 * kubectl, a file of $KUBECONFIG that does not exist is left out, and if two files have the same name, or a current context, the first counts
 * (https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/).
 * @param file a kubeconfig instead of these
 * @throws where none of these exists, or it is faulty
 */
export function loadKubeConfig(file: string | undefined, env: NodeJS.ProcessEnv): KubeConfig {
  const config = loadAll(filesOf(file, env));
  const server = config.getCurrentCluster()?.server;
  if (server === undefined || !URL.canParse(server))
    throw new Error('the kubeconfig has no current cluster with a server');
  return config;
}

/** Undefined where none is given. */
function filesOf(file: string | undefined, env: NodeJS.ProcessEnv): readonly string[] | undefined {
  if (file !== undefined) return [file];
  const listed = (env['KUBECONFIG'] ?? '').split(delimiter).filter((path) => path !== '');
  if (listed.length > 0) {
    const found = listed.filter((path) => existsSync(path));
    if (found.length === 0) throw new Error(`$KUBECONFIG: there is no file ${listed.join(', and none ')}`);
    return found;
  }
  const usual = join(env['HOME'] || homedir(), '.kube/config');
  return existsSync(usual) ? [usual] : undefined;
}

function loadAll(files: readonly string[] | undefined): KubeConfig {
  const merged = new KubeConfig();
  if (files === undefined) {
    merged.loadFromCluster();
    return merged;
  }
  for (const one of files.map(loadFile)) {
    merged.clusters = firstOfEachName([...merged.clusters, ...one.clusters]);
    merged.users = firstOfEachName([...merged.users, ...one.users]);
    merged.contexts = firstOfEachName([...merged.contexts, ...one.contexts]);
    merged.currentContext ||= one.currentContext;
  }
  return merged;
}

function loadFile(path: string): KubeConfig {
  const config = new KubeConfig();
  const text = readFileSync(path, 'utf8');
  config.loadFromString(text);
  const { users } = (parse(text) ?? {}) as { readonly users?: readonly FileUser[] };
  const tokenFiles = new Map(users?.map(({ name, user }) => [name, user?.tokenFile]));
  config.users = config.users.map((user) => {
    const tokenFile = tokenFiles.get(user.name);
    if (tokenFile === undefined || tokenFile === '') return user;
    // A file takes precedence over a token, and is read again and again.
    const authProvider = { name: 'tokenFile', config: { tokenFile: resolve(dirname(path), tokenFile) } };
    const { token: _, ...rest } = user;
    return { ...rest, authProvider };
  });
  config.makePathsAbsolute(dirname(path));
  return config;
}

function firstOfEachName<T extends { readonly name: string }>(all: readonly T[]): T[] {
  return [...new Map(all.toReversed().map((one) => [one.name, one])).values()].toReversed();
}
