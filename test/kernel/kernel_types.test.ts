import { copyFileSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BpfError, BpfObject } from 'bpf-napi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OBJECTS } from '../support/kernel.ts';

/**
 * This object is opened while it is the only one in its directory. Objects that are copied there later are not in the
 * cache, so libbpf looks up their types.
 */
const FIRST = 'softirq.bpf.o';
const FILES = readdirSync(OBJECTS).filter((name) => name.endsWith('.bpf.o') && name !== FIRST);

let later: string;

beforeAll(async () => {
  later = mkdtempSync(join(tmpdir(), 'netsonde-types-'));
  copyFileSync(join(OBJECTS, FIRST), join(later, FIRST));
  (await BpfObject.open(join(later, FIRST))).close();
  for (const file of FILES) copyFileSync(join(OBJECTS, file), join(later, file));
});
afterAll(() => rmSync(later, { recursive: true, force: true }));

/**
 * Returns the tag of each BPF program of this process, by program ID. The tag is the kernel's hash of the program's
 * instructions (bpf_prog_calc_tag).
 */
function tags(): Map<number, string> {
  const found = new Map<number, string>();
  for (const fd of readdirSync('/proc/self/fdinfo')) {
    let info: string;
    try {
      info = readFileSync(join('/proc/self/fdinfo', fd), 'utf8');
    } catch {
      // The descriptor was closed after the directory was listed.
      continue;
    }
    const id = /^prog_id:\s+(\d+)$/m.exec(info)?.[1];
    const tag = /^prog_tag:\s+(\w+)$/m.exec(info)?.[1];
    if (id !== undefined && tag !== undefined) found.set(Number(id), tag);
  }
  return found;
}

/** Returns the tag of each program by name, or the error if the object cannot be loaded with these programs. */
async function load(path: string, programs: readonly string[]): Promise<Record<string, string> | string> {
  using object = await BpfObject.open(path);
  object.choosePrograms(programs);
  try {
    await object.load();
  } catch (error) {
    const { code, errno } = error as BpfError;
    return `${code} ${errno}`;
  }
  const known = tags();
  return Object.fromEntries(programs.map((name) => [name, known.get(object.programInfo(name).id) ?? '']));
}

describe.each(FILES)('%s with looked-up types', (file) => {
  it('has the same programs as where libbpf looks the types up itself', { timeout: 120_000 }, async () => {
    using object = await BpfObject.open(join(OBJECTS, file));
    const loadable: string[] = [];
    const refused: string[] = [];
    for (const { name } of object.programs) {
      const loaded = await load(join(OBJECTS, file), [name]);
      (typeof loaded === 'string' ? refused : loadable).push(name);
    }
    expect(loadable).not.toEqual([]);
    const whole = await load(join(later, file), loadable);
    expect(await load(join(OBJECTS, file), loadable)).toEqual(whole);
    expect(Object.values(whole)).not.toContain('');
    // Both copies of the object are refused for the same reason.
    for (const name of refused.slice(0, 2)) {
      expect(await load(join(OBJECTS, file), [name])).toBe(await load(join(later, file), [name]));
    }
  });
});

it('keeps the types in its own file until it is loaded', async () => {
  const files = () =>
    readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return readlinkSync(join('/proc/self/fd', fd)).startsWith('/memfd:kernel types');
      } catch {
        return false;
      }
    }).length;
  const before = files();
  using object = await BpfObject.open(join(OBJECTS, FIRST));
  expect(files()).toBe(before + 1);
  await object.load();
  expect(files()).toBe(before);
});
