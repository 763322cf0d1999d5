import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Apt, type Architecture } from './apt.ts';

const CACHE = fileURLToPath(new URL('../../.cache/kernels/', import.meta.url));

/** A kernel series that Debian packages. */
interface Series {
  readonly architecture: Architecture;
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
  '5.10': { architecture: 'amd64', releases: '5.10.', suites: ['bullseye', 'bullseye-security'] },
  '6.1': { architecture: 'amd64', releases: '6.1.', suites: ['bookworm', 'bookworm-security'] },
  '6.12': { architecture: 'amd64', releases: '6.12.', suites: ['trixie', 'trixie-security'] },
  newest: { architecture: 'amd64', releases: '', suites: ['sid'] },
  'arm64-6.12': { architecture: 'arm64', releases: '6.12.', suites: ['trixie', 'trixie-security'] },
} as const satisfies Record<string, Series>;

export type KernelName = keyof typeof KERNELS;

/** Kernels that `npm test` boots. */
export const TESTED: readonly KernelName[] = ['6.1'];

/** A fetched kernel. */
export interface Kernel {
  readonly architecture: Architecture;
  /** The release that `uname -r` prints, such as `6.1.0-56-amd64`. */
  readonly release: string;
  readonly image: string;
  /** The directory that contains `lib/modules`, for `modprobe -d`. */
  readonly base: string;
}

/** Returns a fetched kernel; undefined if it was not fetched. */
export function findKernel(name: KernelName): Kernel | undefined {
  return kernelBelow(join(CACHE, name), KERNELS[name].architecture);
}

function kernelBelow(root: string, architecture: Architecture): Kernel | undefined {
  // Since 7.0, Debian's packages contain the modules and the image below /usr/lib.
  const base = [join(root, 'usr'), root].find((path) => existsSync(join(path, 'lib/modules')));
  const release = base === undefined ? undefined : readdirSync(join(base, 'lib/modules'))[0];
  if (base === undefined || release === undefined) return undefined;
  const boot = join(root, 'boot', `vmlinuz-${release}`);
  return {
    architecture,
    release,
    base,
    image: existsSync(boot) ? boot : join(base, 'lib/modules', release, 'vmlinuz'),
  };
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
    const { architecture, releases, suites } = KERNELS[name];
    const apt = new Apt(work, suites, architecture);
    const packages = apt.packages('^linux-(image|binary|modules)-');
    for (const archive of apt.download(newestPackages(packages, releases, architecture))) {
      execFileSync('dpkg-deb', ['-x', archive, root]);
    }
    const kernel = kernelBelow(root, architecture);
    if (kernel === undefined) throw new Error('the packages hold no kernel');
    execFileSync('depmod', ['-b', kernel.base, kernel.release], { stdio: 'pipe' });
    renameSync(root, join(CACHE, name));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * Returns the packages of the newest kernel, excluding its variants (cloud, rt, pages of 16 KiB). Up to 6.12, the image package contains
 * all files, and exists in a signed and an unsigned version. Later image packages are empty, and the files are split
 * into one package for the binary and one for the modules.
 */
export function newestPackages(names: readonly string[], releases: string, architecture: Architecture): string[] {
  const pattern = new RegExp(
    `^linux-(image|binary|modules)-(\\d+\\.\\d+\\.\\d[^-]*(?:-\\d+)?)-${architecture}(-unsigned)?$`,
  );
  const found = new Map<string, Map<string, string>>();
  for (const name of names) {
    const [, kind = '', release = '', unsigned = ''] = pattern.exec(name) ?? [];
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
