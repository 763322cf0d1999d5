import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Cycle } from '#core/cycle.ts';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { scanProcesses } from '#pods/processes.ts';
import { type Place, RIGHTS_HELP } from '../capture/place.ts';
import type { TrialPlan } from './messages.ts';

const FILE_BYTES_MAX = 2 * 1024 ** 2;
/** Where `ip netns exec` has the files of a namespace. */
const NETNS_FILES = '/etc/netns';
/** Bundles of certificates, as distributions name them. */
const AUTHORITIES = ['etc/ssl/certs/ca-certificates.crt', 'etc/pki/tls/certs/ca-bundle.crt', 'etc/ssl/cert.pem'];

/** The files that decide how the client resolves names and which certificates it trusts. */
export interface ClientFiles extends Pick<TrialPlan, 'resolver' | 'hosts' | 'authorities'> {
  /** Why these are the files of this process, and not those of the client; undefined if they are the client's. */
  readonly lack: string | undefined;
}

/**
 * Reads the files of the client. @param name name of a mounted namespace; undefined for a Pod or process
 * @throws if this process may not read them
 */
export async function readClientFiles({ path, inum }: Place, name: string | undefined): Promise<ClientFiles> {
  const folder = name === undefined ? undefined : join(NETNS_FILES, name);
  if (folder !== undefined && existsSync(join(folder, 'resolv.conf'))) {
    const hosts = existsSync(join(folder, 'hosts')) ? join(folder, 'hosts') : '/etc/hosts';
    return { resolver: read(join(folder, 'resolv.conf')), hosts: read(hosts), authorities: undefined, lack: undefined };
  }
  const pid = /^\/proc\/(\d+)\//.exec(path ?? '')?.[1] ?? (await processIn(inum));
  const root = pid === undefined ? '/' : join(DEFAULT_PATHS.proc, pid, 'root');
  const bundle = pid === undefined ? undefined : AUTHORITIES.find((file) => existsSync(join(root, file)));
  const isOwn = pid === undefined && name === undefined && path !== undefined;
  return {
    resolver: read(join(root, 'etc/resolv.conf')),
    hosts: read(join(root, 'etc/hosts')),
    authorities: bundle === undefined ? undefined : read(join(root, bundle)),
    lack: isOwn ? `no process of it is visible: it has ended, or CAP_SYS_PTRACE is missing; ${RIGHTS_HELP}` : undefined,
  };
}

/** Returns the newest process in a namespace. The oldest one of a Pod is usually its sandbox, which has few files. */
async function processIn(inum: number): Promise<string | undefined> {
  const { byInum } = await scanProcesses(DEFAULT_PATHS.proc, new Cycle(new AbortController().signal));
  const pids = byInum.get(inum) ?? [];
  return pids.length === 0 ? undefined : String(Math.max(...pids));
}

/** Returns the text of a file; empty if it does not exist. A file that is too large is no configuration. */
function read(path: string): string {
  try {
    const found = statSync(path, { throwIfNoEntry: false });
    return found?.isFile() === true && found.size <= FILE_BYTES_MAX ? readFileSync(path, 'utf8') : '';
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return '';
    throw code === 'EACCES'
      ? new Error(`${path}: reading it needs CAP_SYS_PTRACE; ${RIGHTS_HELP}`)
      : new Error(message);
  }
}
