import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { DEFAULT_PATHS, type Paths } from '#core/paths.ts';
import type { NetnsRow } from '#sources/bpf/netns_list.ts';
import type { NetnsKernel } from './netns_kernel.ts';
import type { NetnsProcesses, ProcessTable } from './process_table.ts';
import { NetnsRegistry } from './registry.ts';
import { Scanner } from './scanner.ts';

/** A fake kernel that returns these lists one after the other. After the last one, it keeps returning that list. */
class FakeKernel implements NetnsKernel {
  lists: (readonly NetnsRow[] | undefined)[] = [undefined];
  namespaces: readonly NetnsProcesses[] | undefined;
  unreadable = 0;
  scans = 0;
  readonly nodes: (NetnsId | undefined)[] = [];

  async list(): Promise<readonly NetnsRow[] | undefined> {
    return this.lists.length > 1 ? this.lists.shift() : this.lists[0];
  }

  async processes(node: NetnsId | undefined): Promise<ProcessTable | undefined> {
    this.scans++;
    this.nodes.push(node);
    if (this.namespaces === undefined) return undefined;
    return {
      namespaces: this.namespaces,
      unreadable: this.unreadable,
      info: (pid) => ({ pid, comm: 'app', startSeconds: pid, container: () => undefined }),
    };
  }

  cookie(path: string): NetnsId | undefined {
    return path.endsWith('/5/ns/net') ? asNetnsId(500) : undefined;
  }
}

let paths: Paths;
let kernel: FakeKernel;
let registry: NetnsRegistry;
let scanner: Scanner;

beforeEach(() => {
  const proc = mkdtempSync(join(tmpdir(), 'scanner-'));
  paths = { ...DEFAULT_PATHS, proc, netns: join(proc, 'netns') };
  mkdirSync(paths.netns);
  mkdirSync(join(proc, '1'));
  symlinkSync('1', join(proc, 'self'));
  kernel = new FakeKernel();
  registry = new NetnsRegistry(paths);
  scanner = new Scanner(paths, kernel, registry);
});

afterEach(() => rmSync(paths.proc, { recursive: true }));

function row(id: number, inum = id * 10, initial = false): NetnsRow {
  return { id: asNetnsId(id), inum, initial };
}

function held(id: number, ...pids: readonly number[]): NetnsProcesses {
  return { id: asNetnsId(id), inum: id * 10, pids };
}

function ids(): number[] {
  return registry.snapshot().map(({ id }) => Number(id));
}

describe('with the list of the kernel', () => {
  it('a look finds the namespaces that have processes, and the node’s among them; the others are unowned', async () => {
    kernel.lists = [[row(1), row(2), row(3)]];
    kernel.namespaces = [held(1, 1, 7), held(2, 9)];
    await scanner.refresh();
    expect(ids()).toEqual([1, 2]);
    expect(registry.node?.id).toBe(1);
    expect(registry.unowned).toBe(1);
    expect(scanner.reader).toBe('pass');
    await scanner.refresh();
    expect(kernel.nodes).toEqual([undefined, 1]);
  });

  it('a namespace that the kernel no longer lists is gone without a scan, an empty one after a scan', async () => {
    kernel.lists = [[row(1), row(2), row(3)]];
    kernel.namespaces = [held(1, 1), held(2, 9), held(3, 8)];
    await scanner.refresh();
    kernel.lists = [[row(1), row(3)]];
    kernel.namespaces = [held(1, 1)];
    await scanner.refresh();
    expect(ids()).toEqual([1]);
    expect(registry.unowned).toBe(1);
  });

  it('a namespace that began or ended during the scan is left to the next', async () => {
    kernel.lists = [
      [row(1), row(2)],
      [row(1), row(4)],
    ];
    kernel.namespaces = [
      { id: undefined, inum: 10, pids: [1] },
      { id: undefined, inum: 20, pids: [9] },
      { id: undefined, inum: 40, pids: [8] },
    ];
    await scanner.refresh();
    expect(ids()).toEqual([1]);
  });

  it('callers at the same time share one look', async () => {
    kernel.lists = [[row(1)]];
    kernel.namespaces = [held(1, 1)];
    await Promise.all([scanner.refresh(), scanner.refresh(), scanner.refresh()]);
    expect(kernel.scans).toBe(1);
  });

  it('a caller that needs the current state gets a look that begins later, shared with other such callers', async () => {
    kernel.lists = [[row(1)], [row(1)], [row(1), row(2)]];
    kernel.namespaces = [held(1, 1)];
    const first = scanner.refresh();
    const later = [scanner.refreshAnew(), scanner.refreshAnew()];
    await first;
    kernel.namespaces = [held(1, 1), held(2, 9)];
    await Promise.all(later);
    expect(ids()).toEqual([1, 2]);
    expect(kernel.scans).toBe(2);
  });

  it('a change of the mounts causes a scan', async () => {
    kernel.lists = [[row(1)]];
    kernel.namespaces = [held(1, 1)];
    await scanner.refresh();
    await scanner.refresh();
    expect(kernel.scans).toBe(1);
    writeFileSync(join(paths.netns, 'blue'), '');
    await scanner.refresh();
    expect(kernel.scans).toBe(2);
  });
});

describe('without it', () => {
  it('a namespace is identified by its cookie, or by its number if the agent may not enter it', async () => {
    kernel.namespaces = [
      { id: undefined, inum: 50, pids: [5] },
      { id: undefined, inum: 60, pids: [6, 1] },
    ];
    await scanner.refresh();
    expect(registry.snapshot()).toMatchObject([
      { id: 500, inum: 50, isNode: false },
      { id: 60, inum: 60, isNode: true },
    ]);
  });

  it('processes are read from /proc, and those that may not be inspected are counted', async () => {
    mkdirSync(join(paths.proc, '1/ns'));
    symlinkSync('net:[70]', join(paths.proc, '1/ns/net'));
    mkdirSync(join(paths.proc, '5/ns'), { recursive: true });
    // readlink() fails for a regular file, as it would without permission.
    writeFileSync(join(paths.proc, '5/ns/net'), '');
    await scanner.refresh();
    expect(registry.node).toMatchObject({ id: 70 });
    expect(scanner.reader).toBe('files');
    expect(scanner.unreadableProcesses).toBe(1);
  });
});

describe('processes that may not be inspected', () => {
  const NO_CAPABILITIES = 'CapEff:\t0000000000000000\n';

  it.each([
    [NO_CAPABILITIES, 3, /^CAP_SYS_PTRACE is missing, so .* \(3 processes\)$/],
    [NO_CAPABILITIES, 0, undefined],
    ['CapEff:\t000001ffffffffff\n', 3, undefined],
  ])('are a visibility gap only where the capability is missing: %j, %i', async (status, unreadable, expected) => {
    writeFileSync(join(paths.proc, '1/status'), status);
    kernel.lists = [[row(1)]];
    kernel.namespaces = [held(1, 1)];
    kernel.unreadable = unreadable;
    await new Scanner(paths, kernel, registry).refresh();
    if (expected === undefined) expect(registry.visibilityGap).toBeUndefined();
    else expect(registry.visibilityGap).toMatch(expected);
  });
});
