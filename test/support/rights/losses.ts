import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AGENT_RIGHTS } from '#core/rights.ts';
import type { HookTable } from '#probe/hooks.ts';
import type { MetricDescriptor } from '#probe/metric.ts';
import { PROBES } from '#probes/index.ts';
import { LOSSES, type Loss, MEASURED_FILE } from '../../../scripts/rights_tables.ts';
import { CONTEXTS, OCCASIONAL, RightsScene, type Seen, type SetName } from './scene.ts';

const UNPRIVILEGED = 65_532;
/** Capabilities without which no program is loaded, so that large programs take no time. */
const NEEDED_TO_LOAD: ReadonlySet<string> = new Set(['BPF', 'PERFMON']);
/** Probes that need a kernel module, which may be missing here. */
export const NEED_MODULES = new Set(
  PROBES.filter(({ requires }) => requires.module !== undefined).map(({ name }) => name),
);
/** Probes that need function hooks, which this kernel may not support. */
const NEED_FUNCTIONS = new Set(
  PROBES.filter(({ hooks }) => hooks !== undefined && hooksFunctions(hooks)).map(({ name }) => name),
);

function hooksFunctions({ points }: HookTable): boolean {
  const hooks = points.flatMap(({ choices }) => choices.flatMap((choice) => choice.hooks));
  return hooks.some(({ kind }) => kind !== 'tp_btf' && kind !== 'raw_tp' && kind !== 'cgroup_skb');
}

/** `npm run rights` sets this. Results that differ from scripts/measured_rights.json are then written to that file. */
const MEASURES = process.env['MEASURE_RIGHTS'] === '1';
let measured: readonly Loss[] = LOSSES;

/**
 * Returns the recorded loss of a probe without this capability. If none is recorded, returns the loss with the complete
 * set.
 */
function lossOf(probe: string, set: SetName, without: string): Loss | undefined {
  const losses = LOSSES.filter((loss) => loss.set === set && loss.probes.includes(probe));
  return (
    losses.find((loss) => without !== '' && loss.without === without) ?? losses.find((loss) => loss.without === '')
  );
}

function plain(reason: string): string {
  return reason.replace(/\d+/g, 'N');
}

function expectAsDocumented(seen: Seen, all: Seen, set: SetName, without: string, leftOut: ReadonlySet<string>): void {
  if (MEASURES && set !== 'all') {
    measured = correct(measured, seen, all, set, without);
    return;
  }
  for (const name of seen.probes.keys()) if (!leftOut.has(name)) expectProbe(name, seen, all, set, without);
}

function readBy(reader: string | undefined): { reader?: string } {
  return reader === undefined ? {} : { reader };
}

/** Returns the part of a reason before its first number, because numbers differ between runs. */
function lasting(reason: string): string {
  return reason.replace(/[\s(]*\d.*$/s, '') || reason;
}

/**
 * Returns the losses, updated with the results for a set. A probe is added to an existing row if the probe's reason
 * contains the reason of that row.
 */
function correct(losses: readonly Loss[], seen: Seen, all: Seen, set: Loss['set'], without: string): Loss[] {
  const corrected = [...losses];
  for (const [name, { state, reader, reason }] of seen.probes) {
    const best = all.probes.get(name);
    const known = lossOf(name, set, without) ?? best;
    expect(state, name).not.toBe('starting');
    // The state matches the recorded state. expectProbe() fails if metrics are missing, because the probe should then
    // have reported a worse state. A running probe may give a reason for what it does without.
    const isNoted = state === 'running' && known === best && plain(reason) !== plain(best?.reason ?? '');
    if (state === known?.state && !isNoted) {
      expectProbe(name, seen, all, set, without);
      continue;
    }
    const at = corrected.findIndex(
      (loss) => loss.set === set && loss.without === without && loss.probes.includes(name),
    );
    const old = corrected[at];
    if (old !== undefined) corrected[at] = { ...old, probes: old.probes.filter((probe) => probe !== name) };
    const ownReader = state === 'unsupported' || reader === all.probes.get(name)?.reader ? undefined : reader;
    const same = corrected.findIndex(
      (loss) =>
        loss.set === set &&
        loss.without === without &&
        loss.state === state &&
        loss.reader === ownReader &&
        loss.reason !== '' &&
        reason.includes(loss.reason),
    );
    const row = corrected[same];
    if (row !== undefined) corrected[same] = { ...row, probes: [...row.probes, name] };
    else corrected.push({ set, without, probes: [name], state, ...readBy(ownReader), reason: lasting(reason) });
  }
  return corrected.filter(({ probes }) => probes.length > 0);
}

function expectProbe(name: string, seen: Seen, all: Seen, set: SetName, without: string): void {
  const status = seen.probes.get(name);
  const best = all.probes.get(name);
  const row = lossOf(name, set, without);
  const where = `${name} with ${set} without ${without || 'nothing less'}`;
  const expected = {
    state: row?.state ?? best?.state,
    reader: row?.state === 'unsupported' ? '' : (row?.reader ?? best?.reader),
  };
  expect({ state: status?.state, reader: status?.reader }, `${where}: ${status?.reason}`).toEqual(expected);
  // If the machine lacks the feature itself, the reason may be worded differently.
  if (row === undefined && best?.state === 'unsupported') return;
  if (row === undefined) expect(plain(status?.reason ?? ''), where).toBe(plain(best?.reason ?? ''));
  else expect(status?.reason, where).toContain(row.reason);
  const mayLose = row !== undefined && row.state !== 'running';
  if (!mayLose) expect(seen.metrics.get(name), where).toEqual(all.metrics.get(name));
  else if (!OCCASIONAL.has(name)) {
    expect(seen.metrics.get(name)?.length, where).toBeLessThan(all.metrics.get(name)?.length ?? 0);
  }
}

/**
 * Defines the tests of the shipped securityContext.
 * @param leftOut probes that run only with all rights as root and with the default rights of an unprivileged user
 */
export function testRights(leftOut: ReadonlySet<string>): void {
  describe('the shipped securityContext', () => {
    let scene: RightsScene;
    let all: Seen;
    beforeAll(async () => {
      scene = await RightsScene.start();
      all = await scene.see(new Set(), 'all', '', CONTEXTS.all.runAsUser, expectEverything);
    });
    afterAll(async () => {
      await scene?.[Symbol.asyncDispose]();
      if (MEASURES) writeFileSync(MEASURED_FILE, `${JSON.stringify(measured, undefined, 2)}\n`);
    });

    async function expectRow(without: ReadonlySet<string>, set: SetName, capability: string, user: number) {
      await scene.see(without, set, capability, user, (seen) =>
        expectAsDocumented(seen, all, set, capability, without),
      );
    }

    function expectEverything({ probes, metrics }: Seen): void {
      for (const [name, { state, reason }] of probes) {
        if (NEED_MODULES.has(name))
          expect(`${name} ${state} ${reason}`).toMatch(/ (running |(unsupported|degraded) .)/);
        else if (NEED_FUNCTIONS.has(name))
          expect(`${state} ${reason}`).toMatch(/^running |no function|functions .* cannot be hooked/);
        // Namespaces of other tests may use up the rows of namespaces without an owner, regardless of the agent's
        // capabilities.
        else if (!/^\w+: namespaces without an owner used all \d+ rows/.test(reason))
          expect(`${name} ${state} ${reason}`).toBe(`${name} running `);
      }
      // These appear after the other metrics of the probe, and fewer rights take them away.
      if (probes.get('conntrack')?.state === 'running')
        expect(metrics.get('conntrack')).toContain('netsonde_conntrack_entries_by_state');
      for (const { name, metrics: declared } of PROBES) {
        const isOfPods = Object.values<MetricDescriptor>(declared).some(({ scope }) => scope === 'pod');
        if (isOfPods && !OCCASIONAL.has(name) && !NEED_MODULES.has(name))
          expect(metrics.get(name), name).not.toEqual([]);
      }
    }

    it('of all probes shows everything', () => expectEverything(all));

    it('default, as user 65532, shows what the document lists of all probes', () =>
      expectRow(new Set(), 'default', '', UNPRIVILEGED));

    it.each([
      ['all', UNPRIVILEGED],
      ['default', CONTEXTS.default.runAsUser],
      ['packets', UNPRIVILEGED],
      ['processes', UNPRIVILEGED],
    ] as const)('%s, as user %i, shows what the document lists', (set, user) => expectRow(leftOut, set, '', user));

    // `packets` adds one capability, so `packets` without it equals `default`.
    const LESS_ONE = AGENT_RIGHTS.filter(({ name }) => name !== 'packets').flatMap(({ name, adds }) =>
      adds.map((capability) => [name as SetName, capability] as const),
    );

    it.each(LESS_ONE)('%s without %s loses what the document lists, and nothing else', (set, capability) =>
      expectRow(NEEDED_TO_LOAD.has(capability) ? new Set() : leftOut, set, capability, UNPRIVILEGED),
    );
  });
}
