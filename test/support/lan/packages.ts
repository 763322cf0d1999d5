import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';

const VERSION = '1.0.0';
const BLOCK = 512;

/** A generated npm package. */
export interface MadePackage {
  readonly name: string;
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly tarball: Buffer;
  readonly integrity: string;
}

/**
 * Generates packages whose dependencies form a binary tree, so installing the first package installs all of them. Their
 * sizes range from 100 bytes to about 130 kB.
 */
export function makePackages(count: number): MadePackage[] {
  return Array.from({ length: count }, (_, index) => {
    const below = [2 * index + 1, 2 * index + 2].filter((child) => child < count);
    const dependencies = Object.fromEntries(below.map((child) => [nameOf(child), VERSION]));
    const manifest = { name: nameOf(index), version: VERSION, dependencies };
    const payload = noise(nameOf(index), 100 * 2 ** ((index * 7) % 11));
    const tarball = gzipSync(
      Buffer.concat([
        tarEntry('package/package.json', Buffer.from(JSON.stringify(manifest))),
        tarEntry('package/data.bin', payload),
        Buffer.alloc(2 * BLOCK),
      ]),
    );
    const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
    return { ...manifest, tarball, integrity };
  });
}

function nameOf(index: number): string {
  return `lan-package-${index}`;
}

/** Generates deterministic, incompressible bytes. */
function noise(seed: string, length: number): Buffer {
  return createHash('shake256', { outputLength: length }).update(seed).digest();
}

/** Encodes a file as a tar entry (POSIX ustar). */
function tarEntry(path: string, content: Buffer): Buffer {
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, '0');
  header.write(path, 0);
  header.write(
    `${octal(0o644, 7)}\0${octal(0, 7)}\0${octal(0, 7)}\0${octal(content.length, 11)}\0${octal(0, 11)}\0`,
    100,
  );
  header.write('        0', 148);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${octal(sum, 6)}\0 `, 148);
  return Buffer.concat([header, content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)]);
}

/** Returns a package's metadata in the format of an npm registry. */
export function packumentOf({ name, version, dependencies, integrity }: MadePackage, registry: string): object {
  const dist = { tarball: tarballUrl(registry, name, version), integrity };
  return { name, 'dist-tags': { latest: version }, versions: { [version]: { name, version, dependencies, dist } } };
}

/** Returns package.json and package-lock.json of a project that depends on the first package. */
export function projectOf(packages: readonly MadePackage[], registry: string): { manifest: object; lock: object } {
  const manifest = { name: 'project', version: VERSION, dependencies: { [nameOf(0)]: VERSION } };
  const locked = packages.map(({ name, version, dependencies, integrity }) => [
    `node_modules/${name}`,
    { version, resolved: tarballUrl(registry, name, version), integrity, dependencies },
  ]);
  const lock = {
    ...manifest,
    lockfileVersion: 3,
    requires: true,
    packages: { '': manifest, ...Object.fromEntries(locked) },
  };
  return { manifest, lock };
}

function tarballUrl(registry: string, name: string, version: string): string {
  return `${registry}/${name}/-/${name}-${version}.tgz`;
}
