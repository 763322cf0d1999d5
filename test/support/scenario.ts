import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { canFilterPods } from '#config/schema.ts';
import type { AnyProbe } from '#probe/contract.ts';
import type { MetricDescriptor } from '#probe/metric.ts';
import { type CheckGroup, defineChecks, Inapplicable } from '../guest/check.ts';
import { type Features, kernelFeatures } from '../guest/features.ts';
import { expectUnsupported } from '../guest/unsupported.ts';
import { type Exposition, sampleValue } from './exposition.ts';
import { HostPair } from './hosts.ts';
import { only, probesOf, TestKernel } from './kernel.ts';
import { eventually } from './oracle.ts';

/** Undefined in a guest, where loading vitest would take too long. */
const vitest = process.env['VITEST'] === undefined ? undefined : await import('vitest');

export interface ScenarioContext {
  readonly pair: HostPair;
  /** An agent that runs only this probe and those of `beside`, with full detail. */
  readonly agent: TestKernel;
}

export type ScenarioChecks = Readonly<Record<string, (context: ScenarioContext) => Promise<void>>>;

interface Scenario {
  /** Options of the probe in the configuration. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** Other probes that must run for some of its metrics, with these metrics. On some kernels, they cannot run. */
  readonly beside?: Readonly<Record<string, Readonly<Record<string, MetricDescriptor>>>>;
  /**
   * Causes the activity that the probe counts, in both namespaces. It is required if the probe accepts a Pod filter.
   */
  readonly cause?: (context: ScenarioContext) => Promise<void>;
  /** Returns whether the kernel can run the probe. On other kernels, each check expects that the probe says so. */
  readonly runsWith?: (features: Features) => boolean;
  /** Reason that the probe must then report. */
  readonly reason?: RegExp;
  /** Each check causes some activity, and asserts what the probe must report. The checks run in this order. */
  readonly checks: ScenarioChecks;
}

/**
 * Defines what a probe must report about two namespaces. vitest runs the scenario on this machine, and a guest runs it
 * on other kernels. Three checks are added: that all declared metrics and events were seen, that the probe leaves
 * nothing behind when it is switched off, and that it shows no other Pod when it has a Pod filter.
 */
export function defineScenario(
  probe: AnyProbe,
  { options = {}, beside = {}, cause, runsWith = () => true, reason = /./, checks }: Scenario,
): CheckGroup {
  const others = Object.fromEntries(Object.keys(beside).map((name) => [name, { enabled: true }]));
  const configOf = (more: object) =>
    only({ ...others, [probe.name]: { enabled: true, ...options, ...more } }, { detail: 'full' });
  const config = configOf({});
  if (canFilterPods(probe) && cause === undefined)
    throw new Error(`${probe.name} takes a Pod filter: its scenario needs a cause`);
  const types = new Set<string>();
  const whole: ScenarioChecks = {
    ...Object.fromEntries(Object.entries(checks).map(([title, check]) => [title, watched(check, types)])),
    'has shown every metric and event that the probe declares': ({ agent }) =>
      expectDeclared(probe, agent, types, beside),
    'leaves nothing when it is off, and goes on where it was': (context) => expectToggled(probe, context, config),
    ...(cause === undefined || !canFilterPods(probe)
      ? {}
      : {
          // The last check, because it leaves the filter.
          'shows with a Pod filter that Pod, and no other': (context) =>
            expectFiltered(probe, context, cause, configOf),
        }),
  };
  const guarded = (check: ScenarioChecks[string]) => async (context: ScenarioContext) => {
    if (!runsWith(kernelFeatures())) await expectUnsupported(context.agent, probe.name, reason);
    await check(context);
  };
  const all = Object.fromEntries(Object.entries(whole).map(([title, check]) => [title, guarded(check)]));
  const open = async (resources: AsyncDisposableStack) => ({
    pair: resources.use(await HostPair.create()),
    agent: resources.use(await TestKernel.open(config)),
  });
  if (vitest !== undefined) register(vitest, probe.name, open, all);
  return defineChecks(probe.name, open, all);
}

function register(
  { describe, beforeAll, afterAll, it }: typeof import('vitest'),
  name: string,
  open: (resources: AsyncDisposableStack) => Promise<ScenarioContext>,
  checks: ScenarioChecks,
): void {
  describe(name, () => {
    const resources = new AsyncDisposableStack();
    let context: ScenarioContext;
    beforeAll(async () => {
      context = await open(resources);
    });
    afterAll(() => resources.disposeAsync());
    it.for(Object.entries(checks))('%s', async ([, check], { skip }) => {
      try {
        await check(context);
      } catch (error) {
        if (error instanceof Inapplicable) skip(error.message);
        throw error;
      }
    });
  });
}

/** Wraps a check to record the event types that it sees, because checks may clear the events. */
function watched(check: (context: ScenarioContext) => Promise<void>, types: Set<string>) {
  return async (context: ScenarioContext) => {
    try {
      await check(context);
    } finally {
      for (const { type } of context.agent.events) types.add(type);
    }
  };
}

function metricsOf({ metrics }: AnyProbe): MetricDescriptor[] {
  return Object.values<MetricDescriptor>(metrics);
}

function namesOn({ samples }: Exposition): Set<string> {
  return new Set(samples.map(({ name }) => name.replace(/_bucket$/, '')));
}

async function expectDeclared(
  probe: AnyProbe,
  agent: TestKernel,
  types: ReadonlySet<string>,
  beside: NonNullable<Scenario['beside']>,
): Promise<void> {
  const shown = namesOn(await agent.page());
  const states = new Map(agent.kernel.probes().map(({ name, ...status }) => [name, status]));
  const missing = Object.keys(beside).filter((name) => states.get(name)?.state === 'unsupported');
  deepEqual(
    metricsOf(probe)
      .map(({ name }) => name)
      .filter((name) => !shown.has(name)),
    missing.flatMap((name) => Object.values(beside[name] ?? {}).map((metric) => metric.name)),
    'metrics that were not on the page',
  );
  for (const name of missing) match(states.get(probe.name)?.reason ?? '', new RegExp(`the probe ${name} does not run`));
  deepEqual(
    Object.keys(probe.events).filter((type) => !types.has(type)),
    [],
    'events that were not sent',
  );
}

async function expectToggled(probe: AnyProbe, { agent, pair }: ScenarioContext, config: string): Promise<void> {
  const before = await agent.page();
  await agent.kernel.configure(probesOf(only({})));
  const off = agent.kernel.probes().find(({ name }) => name === probe.name);
  deepEqual([off?.state, off?.programs], ['stopped', []]);
  const shown = namesOn(await agent.page());
  for (const { name } of metricsOf(probe)) equal(shown.has(name), false, name);
  await agent.kernel.configure(probesOf(config));
  const after = await agent.page();
  const own = [pair.a.netns.name, pair.b.netns.name];
  for (const { name } of metricsOf(probe).filter(({ type }) => type === 'counter')) {
    for (const { labels, value } of before.named.get(name) ?? []) {
      const now = sampleValue(after, name, labels);
      // The Pods of other tests may have ended meanwhile.
      if (now === undefined && labels['pod'] !== undefined && !own.includes(labels['pod'])) continue;
      ok((now ?? -1) >= Number(value), `${name} of ${JSON.stringify(labels)} stepped back`);
    }
  }
}

async function expectFiltered(
  probe: AnyProbe,
  context: ScenarioContext,
  cause: (context: ScenarioContext) => Promise<void>,
  configOf: (more: object) => string,
): Promise<void> {
  const { pair, agent } = context;
  const [aimed, other] = [pair.b.netns.name, pair.a.netns.name];
  await agent.kernel.configure(probesOf(configOf({ pods: { names: [aimed] } })));
  agent.events.length = 0;
  const count = async () => {
    const names = new Set(metricsOf(probe).map(({ name }) => name));
    const samples = (await agent.page()).samples.filter(({ name }) =>
      names.has(name.replace(/_(bucket|count|sum)$/, '')),
    );
    const of = (pod: string) => samples.filter(({ labels }) => labels['pod'] === pod);
    equal(of(other).length, 0, 'it shows a Pod outside of the filter');
    return of(aimed).reduce((sum, { value }) => sum + Number(value), 0);
  };
  const before = await count();
  await cause(context);
  await eventually(async () => ok((await count()) > before, 'it has not shown the Pod of the filter'));
  if (Object.keys(probe.events).length > 0) {
    await eventually(() => ok(agent.events.length > 0, 'it has sent no event'));
    deepEqual([...new Set(agent.events.map(({ pod }) => pod))], [aimed]);
  }
}
