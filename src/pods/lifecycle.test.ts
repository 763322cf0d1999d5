import { expect, it } from 'vitest';
import { asNetnsId } from '#core/netns.ts';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { Unsupported } from '#core/reader.ts';
import type { NetnsDeparture } from '#probe/life.ts';
import { OwnerSlots } from '#probe/owners.ts';
import type { BpfSource } from '#sources/bpf/source.ts';
import { cpusOf } from '#sources/procfs/cpus.ts';
import { Lifecycle } from './lifecycle.ts';
import { NetnsRegistry } from './registry.ts';

const UID = '0f0f0f0f-1111-2222-3333-444455556666';

it.each([new Unsupported('this kernel has no BTF'), new Error('no memory')])(
  'a kernel that cannot report births and deaths causes no failure: %s',
  async (refusal) => {
    const bpf = {
      check: () => {
        throw refusal;
      },
    } as Partial<BpfSource> as BpfSource;
    const warnings: string[] = [];
    const registry = new NetnsRegistry(DEFAULT_PATHS);
    const options = { bpf, cpus: cpusOf('/sys'), paths: DEFAULT_PATHS, registry, owners: new OwnerSlots(registry) };
    using life = new Lifecycle({ ...options, told: () => undefined, warn: (message) => warnings.push(message) });
    await life.start();
    expect(life.health.reader).toBe('scan');
    expect(life.health.degraded).toEqual([
      expect.stringMatching(`^${refusal.message}, so Pods are found by the next scan`),
    ]);
    expect(warnings).toEqual([expect.stringContaining(refusal.message)]);
    expect(life.report.health()).toEqual(life.health);
    expect([life.report.programs, life.untoldDeaths]).toEqual([undefined, undefined]);
    expect([life.tellsBirths, life.tellsDeaths]).toEqual([false, false]);

    // Scans continue without the programs, and removed namespaces are still reported to the watcher.
    const departures: NetnsDeparture[] = [];
    using _ = life.watch({
      retireMs: 1_000,
      retireShare: 0.25,
      beforeLook: () => undefined,
      departed: (departure) => departures.push(departure),
      died: () => undefined,
    });
    const [id, inum] = [asNetnsId(1), 10];
    registry.born({ id, inum, pid: 1, startSeconds: 1, folders: { pod: `pod${UID}`, container: '', outer: '' } });
    const before = registry.beforeLook();
    registry.removeDead(before, []);
    expect(departures.map(({ uid }) => uid)).toEqual([UID]);
  },
);
