import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const CACHE = fileURLToPath(new URL('../../.cache/kernels/', import.meta.url));

/** Possible paths of Debian's keyring. */
const KEYRINGS = ['/usr/share/keyrings/debian-archive-keyring.pgp', '/usr/share/keyrings/debian-archive-keyring.gpg'];

/** A kernel series that Debian packages. */
interface Series {
  /** Prefix of the release, such as `6.1.`; empty for the newest kernel. */
  readonly releases: string;
  /**
   * Suites to search. The newest release that any of them contains is used. The names of security suites end in
   * `-security`.
   */
  readonly suites: readonly string[];
}

/** All kernels that can be booted, one per line. */
export const KERNELS = {
  '5.10': { releases: '5.10.', suites: ['bullseye', 'bullseye-security'] },
  '6.1': { releases: '6.1.', suites: ['bookworm', 'bookworm-security'] },
  '6.12': { releases: '6.12.', suites: ['trixie', 'trixie-security'] },
  newest: { releases: '', suites: ['sid'] },
} as const satisfies Record<string, Series>;

export type KernelName = keyof typeof KERNELS;

/** Kernels that `npm test` boots. */
export const TESTED: readonly KernelName[] = ['6.1'];

/** A fetched kernel. */
export interface Kernel {
  /** The release that `uname -r` prints, such as `6.1.0-56-amd64`. */
  readonly release: string;
  readonly image: string;
  /** The directory that contains `lib/modules`, for `modprobe -d`. */
  readonly base: string;
}

/** Returns a fetched kernel; undefined if it was not fetched. */
export function findKernel(name: KernelName): Kernel | undefined {
  return kernelBelow(join(CACHE, name));
}

function kernelBelow(root: string): Kernel | undefined {
  // Since 7.0, Debian's packages contain the modules and the image below /usr/lib.
  const base = [join(root, 'usr'), root].find((path) => existsSync(join(path, 'lib/modules')));
  const release = base === undefined ? undefined : readdirSync(join(base, 'lib/modules'))[0];
  if (base === undefined || release === undefined) return undefined;
  const boot = join(root, 'boot', `vmlinuz-${release}`);
  return { release, base, image: existsSync(boot) ? boot : join(base, 'lib/modules', release, 'vmlinuz') };
}

/**
 * Fetches a kernel with a separate apt configuration so that this machine's sources and packages do not change.
 * @throws if the mirror is unreachable or does not have the kernel
 */
export function fetchKernel(name: KernelName): void {
  mkdirSync(CACHE, { recursive: true });
  const work = mkdtempSync(join(CACHE, '.fetch-'));
  try {
    const root = join(work, 'root');
    const apt = new Apt(work, KERNELS[name].suites);
    for (const archive of apt.download(newestPackages(apt.packages(), KERNELS[name].releases))) {
      execFileSync('dpkg-deb', ['-x', archive, root]);
    }
    const kernel = kernelBelow(root);
    if (kernel === undefined) throw new Error('the packages hold no kernel');
    execFileSync('depmod', ['-b', kernel.base, kernel.release], { stdio: 'pipe' });
    renameSync(root, join(CACHE, name));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * Returns the packages of the newest kernel, excluding its variants (cloud, rt). Up to 6.12, the image package contains
 * all files, and exists in a signed and an unsigned version. Later image packages are empty, and the files are split
 * into one package for the binary and one for the modules.
 */
export function newestPackages(names: readonly string[], releases: string): string[] {
  const found = new Map<string, Map<string, string>>();
  for (const name of names) {
    const [, kind = '', release = '', unsigned = ''] =
      /^linux-(image|binary|modules)-(\d+\.\d+\.\d[^-]*(?:-\d+)?)-amd64(-unsigned)?$/.exec(name) ?? [];
    if (kind === '' || !release.startsWith(releases)) continue;
    const parts = found.get(release) ?? new Map<string, string>();
    if (unsigned !== '' || !parts.has(kind)) parts.set(kind, name);
    found.set(release, parts);
  }
  const newestFirst = [...found.keys()].sort(new Intl.Collator('en', { numeric: true }).compare).reverse();
  for (const release of newestFirst) {
    const [image, binary, modules] = ['image', 'binary', 'modules'].map((kind) => found.get(release)?.get(kind));
    if (binary !== undefined && modules !== undefined) return [binary, modules];
    if (image !== undefined && modules === undefined) return [image];
  }
  throw new Error(`the mirror has no kernel ${releases}`);
}

/** Runs apt with its own directory for sources, lists and caches, but with this machine's mirror. */
class Apt {
  readonly #folder: string;
  readonly #options: readonly string[];

  constructor(folder: string, suites: readonly string[]) {
    this.#folder = folder;
    const sources = join(folder, 'sources.list');
    const keyring = debianKeyring();
    const lines = suites.map((suite) => {
      const mirror = mirrorOf(suite);
      return mirror === undefined ? '' : `deb [signed-by=${keyring}] ${mirror} ${suite} main\n`;
    });
    writeFileSync(sources, lines.join(''));
    for (const path of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(folder, path), { recursive: true });
    const settings = {
      'Dir::Etc::sourcelist': sources,
      'Dir::Etc::sourceparts': '-',
      'Dir::State::lists': join(folder, 'lists'),
      'Dir::Cache': join(folder, 'cache'),
      'Acquire::Languages': 'none',
      'Acquire::http::Timeout': '20',
      // By default, apt downloads as the user `_apt`, which must not write to this directory.
      'APT::Sandbox::User': 'root',
    };
    this.#options = Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
    this.#run('apt-get', 'update', '--error-on=any', '-qq');
  }

  packages(): string[] {
    const lines = this.#run('apt-cache', 'search', '--names-only', '^linux-(image|binary|modules)-').split('\n');
    return lines.map((line) => line.split(' ', 1)[0] ?? '');
  }

  /** Returns the paths of the downloaded archives. */
  download(packages: readonly string[]): string[] {
    this.#run('apt-get', 'download', '-qq', ...packages);
    return readdirSync(this.#folder)
      .filter((name) => name.endsWith('.deb'))
      .map((name) => join(this.#folder, name));
  }

  #run(command: string, ...args: string[]): string {
    return execFileSync(command, [...this.#options, ...args], {
      cwd: this.#folder,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }
}

/** Returns the path of Debian's keyring. @throws if this machine lacks it */
export function debianKeyring(): string {
  const keyring = KEYRINGS.find((path) => existsSync(path));
  if (keyring === undefined)
    throw new Error('the keys of Debian are missing: install the package debian-archive-keyring');
  return keyring;
}

/**
 * Returns the mirror that this machine uses for security suites or for other suites, depending on `suite`; undefined if
 * it has none.
 */
export function mirrorOf(suite: string): string | undefined {
  const isSecurity = (name: string) => name.endsWith('-security');
  const targets = execFileSync('apt-get', ['indextargets', '--format', '$(REPO_URI) $(RELEASE)'], { encoding: 'utf8' });
  const rows = targets.split('\n').map((target) => target.split(' '));
  return rows.find(([, release]) => release !== undefined && isSecurity(release) === isSecurity(suite))?.[0];
}
