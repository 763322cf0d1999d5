import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Debian's names of the architectures whose packages are fetched. */
export type Architecture = 'amd64' | 'arm64';

/** Possible paths of Debian's keyring. */
const KEYRINGS = ['/usr/share/keyrings/debian-archive-keyring.pgp', '/usr/share/keyrings/debian-archive-keyring.gpg'];

/**
 * Runs apt with its own directory for sources, lists and caches, but with this machine's mirror. It knows no installed
 * packages.
 */
export class Apt {
  readonly #folder: string;
  readonly #options: readonly string[];

  constructor(folder: string, suites: readonly string[], architecture: Architecture) {
    this.#folder = folder;
    const [sources, status] = [join(folder, 'sources.list'), join(folder, 'status')];
    const keyring = debianKeyring();
    const lines = suites.map((suite) => {
      const mirror = mirrorOf(suite);
      return mirror === undefined ? '' : `deb [arch=${architecture} signed-by=${keyring}] ${mirror} ${suite} main\n`;
    });
    writeFileSync(sources, lines.join(''));
    writeFileSync(status, '');
    for (const path of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(folder, path), { recursive: true });
    const settings = {
      'APT::Architecture': architecture,
      'APT::Architectures': architecture,
      'Dir::Etc::sourcelist': sources,
      'Dir::Etc::sourceparts': '-',
      'Dir::State::lists': join(folder, 'lists'),
      'Dir::State::status': status,
      'Dir::Cache': join(folder, 'cache'),
      'Acquire::Languages': 'none',
      'Acquire::http::Timeout': '20',
      // By default, apt downloads as the user `_apt`, which must not write to this directory.
      'APT::Sandbox::User': 'root',
    };
    this.#options = Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
    this.#run('apt-get', 'update', '--error-on=any', '-qq');
  }

  /** Returns the names of the packages that match a regular expression. */
  packages(pattern: string): string[] {
    const lines = this.#run('apt-cache', 'search', '--names-only', pattern).split('\n');
    return lines.map((line) => line.split(' ', 1)[0] ?? '');
  }

  /** Downloads packages without those that they depend on. @returns the paths of the archives */
  download(packages: readonly string[]): string[] {
    this.#run('apt-get', 'download', '-qq', ...packages);
    return archivesIn(this.#folder);
  }

  /** Downloads packages and all that they depend on. @returns the paths of the archives */
  downloadWithDependencies(packages: readonly string[]): string[] {
    this.#run('apt-get', 'install', '-qq', '-y', '--download-only', '--no-install-recommends', ...packages);
    return archivesIn(join(this.#folder, 'cache/archives'));
  }

  #run(command: string, ...args: string[]): string {
    return execFileSync(command, [...this.#options, ...args], {
      cwd: this.#folder,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }
}

function archivesIn(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.deb'))
    .map((name) => join(folder, name));
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
