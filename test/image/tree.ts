import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { debianKeyring, mirrorOf } from '../guest/apt.ts';
import { run } from '../support/command.ts';

const OUTPUT_BYTES = 4000;

/**
 * An overlay mount of layers, as a container runtime creates it. A separate directory receives all writes. Disposing
 * removes the mount.
 */
export class MountedTree implements Disposable {
  readonly root: string;
  readonly upper: string;

  /**
   * @param layers directories, starting with the lowest layer
   * @param folder working directory, which must not exist; its subdirectory `upper` receives the writes
   */
  constructor(layers: readonly string[], folder: string) {
    this.root = join(folder, 'root');
    this.upper = join(folder, 'upper');
    const work = join(folder, 'work');
    for (const path of [this.root, this.upper, work]) mkdirSync(path, { recursive: true });
    const options = `lowerdir=${layers.toReversed().join(':')},upperdir=${this.upper},workdir=${work}`;
    run('mount', '-t', 'overlay', 'overlay', '-o', options, this.root);
  }

  /** Converts a path in the tree to a path on this machine. */
  at(path: string): string {
    return join(this.root, path);
  }

  /** Runs a command from the tree, with the tree as its root. */
  exec(...command: string[]): string {
    return run('chroot', this.root, ...command);
  }

  [Symbol.dispose](): void {
    run('umount', '--recursive', this.root);
  }
}

/**
 * Shell commands that add the standard container devices and this machine's resolver files to `$root`. Scripts include
 * them.
 */
export const CONTAINER_FILES = `
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in full null random tty urandom zero; do
  touch "$root/dev/$name"
  mount --bind "/dev/$name" "$root/dev/$name"
done
ln -s /proc/self/fd "$root/dev/fd"
for name in hosts resolv.conf; do
  mount --bind "/etc/$name" "$root/etc/$name"
done
`;

/**
 * Script that runs a command in the tree. `runIn` starts the script in a PID namespace, so all of the command's
 * processes are killed when the script exits. The script is killed when this process exits.
 */
const RUN = `set -eu
root=$1 workdir=$2 command=$3 authorities=$4
shift 4
mount -t proc proc "$root/proc"
${CONTAINER_FILES}
[ -z "$authorities" ] || cp "$authorities" "$root/dev/authorities.crt"
mkdir -p "$root/$workdir"
exec chroot "$root" env -i -C "$workdir" "$@" /bin/sh -c "$command"`;

/** Returns the environment variables that a build needs to reach registries, as a container engine passes them. */
function environmentOfMachine(): Record<string, string> {
  const env: Record<string, string> = { npm_config_registry: run('npm', 'config', 'get', 'registry').trim() };
  for (const [name, value] of Object.entries(process.env)) {
    if (/^(https?|no)_proxy$/i.test(name)) env[name] = value ?? '';
  }
  if (process.env['NODE_EXTRA_CA_CERTS'] !== undefined) env['NODE_EXTRA_CA_CERTS'] = '/dev/authorities.crt';
  return env;
}

/** Executes a RUN instruction. @throws if it fails; the message contains the end of its output */
export async function runIn(
  { root }: MountedTree,
  command: string,
  workdir: string,
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const variables = { HOME: '/root', ...environmentOfMachine(), ...env };
  const child = spawn(
    'setpriv',
    [
      ...['--pdeathsig', 'KILL', 'unshare', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child'],
      ...['sh', '-c', RUN, 'sh', root, workdir, command, process.env['NODE_EXTRA_CA_CERTS'] ?? ''],
      ...Object.entries(variables).map(([name, value]) => `${name}=${value}`),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      output = (output + String(data)).slice(-OUTPUT_BYTES);
    });
  }
  const status = await new Promise((resolve) => child.once('close', (code, signal) => resolve(code ?? signal)));
  if (status !== 0) throw new Error(`RUN ${command}\nended with ${status}:\n${output}`);
}

/** Creates a root file system like Debian's slim image: minimal, without documentation and apt caches. */
export function makeBase(suite: string, folder: string): void {
  const [mirror, security] = [suite, `${suite}-security`].map(mirrorOf);
  if (mirror === undefined) throw new Error('this machine has no mirror of Debian');
  run('debootstrap', '--variant=minbase', `--keyring=${debianKeyring()}`, suite, folder, mirror);
  const sources = [`deb ${mirror} ${suite} main`, `deb ${mirror} ${suite}-updates main`];
  if (security !== undefined) sources.push(`deb ${security} ${suite}-security main`);
  const excluded = ['doc', 'info', 'lintian', 'locale', 'man'].map((name) => `/usr/share/${name}/*`);
  const files = {
    'etc/apt/sources.list': sources,
    'etc/apt/apt.conf.d/docker-clean': [
      'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };',
      'Dir::Cache::pkgcache "";',
      'Dir::Cache::srcpkgcache "";',
    ],
    'etc/dpkg/dpkg.cfg.d/docker': ['force-unsafe-io', ...excluded.map((path) => `path-exclude ${path}`)],
    'etc/hosts': [],
    'etc/resolv.conf': [],
  };
  for (const [path, lines] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), lines.map((line) => `${line}\n`).join(''));
  }
  const left = [...excluded.map((path) => path.slice(0, -2)), '/var/cache/apt/archives', '/var/lib/apt/lists'];
  for (const path of left) rmSync(join(folder, path), { recursive: true, force: true });
}
