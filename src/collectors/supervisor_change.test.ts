import { setTimeout as wait } from 'node:timers/promises';
import { beforeEach, expect, it } from 'vitest';
import { asNetnsId } from '#core/netns.ts';
import type { DesiredProbe, ProbeContext, ProbeScope } from '#probe/contract.ts';
import type { EventSet } from '#probe/event.ts';
import type { RecordBody, RecordRules } from '#probe/records.ts';
import { RetainedStates } from '#probe/retained.ts';
import type { Sources } from '#sources/sources.ts';
import { FakeProbe } from '../../test/support/fake_probe.ts';
import { Aggregator } from './aggregate.ts';
import { Supervisor } from './supervisor.ts';

const RECORD = { netns: asNetnsId(1) } as unknown as RecordBody;

let probe: FakeProbe;
let supervisor: Supervisor;
let logs: string[];
/** Records with the rules under which they were submitted. */
let records: (RecordRules | undefined)[];
let scope: ProbeScope<EventSet>;
let applies: () => boolean;

beforeEach(() => {
  probe = new FakeProbe('one', ['limit', 'records', 'slow']);
  logs = [];
  records = [];
  applies = () => true;
  probe.open = async (opened) => {
    scope = opened;
    return {
      health: () => ({ reader: 'fake', degraded: [] }),
      apply: ({ limit, options }) => {
        probe.log.push(`apply ${limit} ${JSON.stringify(options)}`);
        return applies();
      },
    };
  };
  supervisor = new Supervisor({
    definitions: [probe.definition],
    sources: { netns: { visibilityGap: undefined } } as Sources,
    context: {} as ProbeContext,
    retained: new RetainedStates(),
    aggregator: new Aggregator(['one'], () => false),
    publish: () => () => undefined,
    record: (_name, rules) => () => void records.push(rules),
    log: (level, message) => void logs.push(`${level} ${message}`),
  });
});

interface Wish extends Partial<Omit<DesiredProbe, 'settings'>> {
  readonly settings?: Partial<DesiredProbe['settings']>;
}

function want({ settings, ...rest }: Wish = {}): Promise<void> {
  const all = { metrics: true, events: false, limit: 100, options: {}, ...settings };
  return supervisor.apply(new Map([['one', { detail: 'core', ...rest, settings: all }]]));
}

it('a probe applies the settings that it lists, and is not opened again', async () => {
  await want();
  await want({ settings: { limit: 7, options: { slow: 3 } } });
  await want({ settings: { limit: 7, options: { slow: 3 } } });
  expect(probe.log).toEqual(['open', 'apply 7 {"slow":3}']);
  expect(logs).toEqual(['info one: running', 'info one: applied limit, slow']);
});

it.each([
  ['another option', { options: { size: 1 } }],
  ['another setting', { events: true }],
  ['a listed and another setting', { limit: 7, options: { size: 1 } }],
  ['a Pod filter', { podFilter: {} }],
])('a probe is opened again for %s', async (_what, settings) => {
  await want();
  await want({ settings });
  expect(probe.log).toEqual(['open', 'close', 'open']);
});

it.each([
  ['says that it cannot', () => false, []],
  [
    'fails',
    () => {
      throw new Error('no such map');
    },
    ['error one: could not apply limit: no such map'],
  ],
])('a probe that %s is opened again', async (_what, apply, errors) => {
  applies = apply;
  await want();
  await want({ settings: { limit: 7 } });
  expect(probe.log).toEqual(['open', 'apply 7 {}', 'close', 'open']);
  expect(logs.filter((line) => line.startsWith('error'))).toEqual(errors);
  expect(supervisor.status()[0]?.state).toBe('running');
});

it('what a page shows and the budget change without the probe', async () => {
  await want();
  const active = supervisor.active();
  await want({ detail: 'full', fields: [], budget: 0.5 });
  await want({ settings: { metrics: false } });
  expect(supervisor.active()).toEqual(active);
  expect(active[0]?.metrics).toBe(false);
  await want();
  expect(active[0]?.metrics).toBe(true);
  expect(probe.log).toEqual(['open']);
});

it('records are selected by the new rules', async () => {
  const rules = { failed: true, perPod: 1 };
  await want();
  scope.record(RECORD);
  await want({ settings: { records: rules } });
  scope.record(RECORD);
  expect(records).toEqual([undefined, rules]);
});

it('a setting that changes while the probe opens is applied afterwards', async () => {
  const { open } = probe;
  probe.open = async (opened) => {
    await wait(10);
    return open(opened);
  };
  await Promise.all([want(), want({ settings: { limit: 7 } }), want({ settings: { limit: 8 } })]);
  expect(probe.log).toEqual(['open', 'apply 8 {}']);
});
