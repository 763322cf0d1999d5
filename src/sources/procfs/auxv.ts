import { join } from 'node:path';
import { readText } from './read.ts';

/** Type of the entry with the page size in the auxiliary vector (man 3 getauxval). */
const AT_PAGESZ = 6n;

const DEFAULT_PAGE_BYTES = 4096;

/** Returns the size of a memory page in bytes: 4 KiB on x86-64, up to 64 KiB on arm64. */
export function pageBytes(proc: string): number {
  const vector = Buffer.from(readText(join(proc, 'self/auxv')) ?? '', 'latin1');
  for (let at = 0; at + 16 <= vector.length; at += 16) {
    if (vector.readBigUInt64LE(at) === AT_PAGESZ) return Number(vector.readBigUInt64LE(at + 8));
  }
  return DEFAULT_PAGE_BYTES;
}
