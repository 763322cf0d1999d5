import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Descriptors } from './fd.ts';

it('counts the descriptors of this process without the one that lists them', () => {
  const descriptors = new Descriptors('/proc');
  const fd = openSync('/dev/null', 'r');
  try {
    // Listing the directory also opens a descriptor.
    expect(descriptors.countOwn()).toBe(readdirSync('/proc/self/fd').length - 1);
  } finally {
    closeSync(fd);
  }
});

it('lists them if the size of the directory does not give their number', () => {
  const proc = mkdtempSync(join(tmpdir(), 'proc-'));
  try {
    mkdirSync(join(proc, 'self/fd'), { recursive: true });
    for (const fd of ['0', '1', '2', '3']) writeFileSync(join(proc, 'self/fd', fd), '');
    expect(new Descriptors(proc).countOwn()).toBe(3);
  } finally {
    rmSync(proc, { recursive: true });
  }
});
