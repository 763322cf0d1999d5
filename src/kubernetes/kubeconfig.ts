import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { parse } from 'yaml';

/** Fields of a kubeconfig user that the client library does not support. */
interface FileUser {
  readonly name?: string;
  readonly user?: { readonly tokenFile?: string };
}

/**
 * Loads the address of the API server and the credentials from $KUBECONFIG, ~/.kube/config, or the service account of
 * the Pod. As in kubectl, missing files in $KUBECONFIG are ignored, and if several files define the same name or a
 * current context, the first file takes precedence
 * (https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/).
 * @param file kubeconfig to use instead
 * @throws if there is no configuration, or if it is invalid
 */
export function loadKubeConfig(file: string | undefined, env: NodeJS.ProcessEnv): KubeConfig {
  const config = loadAll(filesOf(file, env));
  const server = config.getCurrentCluster()?.server;
  if (server === undefined || !URL.canParse(server))
    throw new Error('the kubeconfig has no current cluster with a server');
  return config;
}

/** Returns the kubeconfig files; undefined if there are none. */
function filesOf(file: string | undefined, env: NodeJS.ProcessEnv): readonly string[] | undefined {
  if (file !== undefined) return [file];
  const listed = (env['KUBECONFIG'] ?? '').split(delimiter).filter((path) => path !== '');
  if (listed.length > 0) {
    const found = listed.filter((path) => existsSync(path));
    if (found.length === 0) throw new Error(`$KUBECONFIG: none of these files exists: ${listed.join(', ')}`);
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
    // A token file takes precedence over a token. It is reread later.
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
