import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { DEFAULT_PATHS } from '#core/paths.ts';
import type { ContainerRef } from '#pods/cgroup.ts';
import type { Entity } from '#pods/entity.ts';
import type { ProcessTable } from '#pods/process_table.ts';
import { type NetnsBirth, NetnsRegistry } from '#pods/registry.ts';
import type { NetnsDeath } from '#probe/life.ts';
import type { NetnsRow } from '#sources/bpf/netns_list.ts';

export const UID = '0f0f0f0f-1111-2222-3333-444455556666';
export const CONTAINER = 'ab'.repeat(32);
/** ID of the container in which the agent itself runs. */
export const OWN = 'cd'.repeat(32);

export const [NODE, A, B, C] = [1, 2, 3, 4].map(asNetnsId) as [NetnsId, NetnsId, NetnsId, NetnsId];

export function rowsOf(...ids: readonly NetnsId[]): NetnsRow[] {
  return ids.map((id) => ({ id, inum: Number(id) * 10, initial: false }));
}

export function birth(id: NetnsId, container = CONTAINER, uid = UID): NetnsBirth {
  return {
    id,
    inum: Number(id) * 10,
    pid: 900,
    startSeconds: 9,
    folders: { pod: `pod${uid}`, container, outer: '' },
  };
}

export function deathOf(id: NetnsId): NetnsDeath {
  return { id, row: new Uint8Array(), timeNs: 0n, bootSeconds: 0 };
}

/** A registry of namespaces with a clock and processes that the test controls. */
export class RegistryScene implements Disposable {
  readonly proc = mkdtempSync(join(tmpdir(), 'registry-'));
  nowMs = 1_000;
  /** All lists of entities that the registry has reported. */
  shown: readonly Entity[][] = [];
  /** Containers by process. */
  readonly containers = new Map<number, ContainerRef>();
  /** Whether a Pod uses the node's network, by UID. */
  readonly hostNetwork = new Map<string, boolean>();
  readonly table = {
    info: (pid: number) => ({ pid, comm: 'app', startSeconds: pid, container: () => this.containers.get(pid) }),
  };
  readonly registry: NetnsRegistry;

  constructor() {
    mkdirSync(join(this.proc, 'self'));
    writeFileSync(join(this.proc, 'self/cgroup'), `0::/docker/${OWN}\n`);
    this.registry = new NetnsRegistry(
      { ...DEFAULT_PATHS, proc: this.proc, netns: '/run/nets' },
      (entities) => {
        this.shown = [...this.shown, [...entities]];
      },
      (uid) => this.hostNetwork.get(uid),
      () => this.nowMs,
    );
  }

  /** Simulates a scan that finds these namespaces with their processes and mount names. */
  scan(
    places: readonly (readonly [NetnsId, readonly number[], ...string[]])[],
    live: readonly NetnsId[] = places.map(([id]) => id),
    table: Pick<ProcessTable, 'info'> = this.table,
  ): void {
    const { registry } = this;
    const before = registry.beforeLook();
    registry.removeDead(before, rowsOf(...live));
    registry.scanBegins();
    for (const [id, pids, ...mounts] of places) {
      registry.found({ id, inum: Number(id) * 10, pids, mounts, order: Number(id) }, id === NODE, table);
    }
    registry.judge(places.find(([id]) => id === NODE)?.[1] ?? [], table);
    registry.removeMissing(before, new Set(places.map(([id]) => id)));
    registry.noteUnowned(rowsOf(...live));
    registry.afterLook(rowsOf(...live));
  }

  /** Kinds and names of the entities that were reported last. */
  get names(): string[] {
    return (this.shown.at(-1) ?? []).map(({ kind, pod, isRetired }) => `${kind} ${pod}${isRetired ? ' retired' : ''}`);
  }

  [Symbol.dispose](): void {
    rmSync(this.proc, { recursive: true });
  }
}
