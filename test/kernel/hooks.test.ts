import { join } from 'node:path';
import { BpfObject } from 'bpf-napi';
import { beforeEach, describe, expect, it } from 'vitest';
import { FILE } from '#bpf/generated/tcpreset.ts';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { LIFECYCLE_HOOKS } from '#pods/lifecycle.ts';
import { type Hook, HooksMissing, type HookTable, hook, hookName, openHooks, surveyHooks } from '#probe/hooks.ts';
import { PROBES } from '#probes/index.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { OBJECTS } from '../support/kernel.ts';

const TRACEPOINT = hook('tp_btf/tcp_receive_reset', 1, 'tcp_reset_received');
const FENTRY = hook('fentry/tcp_reset', 1, 'tcp_reset_received_entry');
const KPROBE = hook('kprobe/tcp_reset', 1, 'tcp_reset_received_probe');
const SENT = { what: 'sent', choices: [{ hooks: [hook('raw_tp/tcp_send_reset', 3, 'tcp_reset_sent_reason')] }] };

let bpf: BpfSource;
let loads: string[][];

beforeEach(() => {
  bpf = new BpfSource(OBJECTS, DEFAULT_PATHS.sys);
  loads = [];
  const load = bpf.load.bind(bpf);
  // The wrapper records the requested programs before it loads the object.
  bpf.load = (spec) => {
    loads.push([...spec.programs]);
    return load(spec);
  };
});

function table(...points: HookTable['points']): HookTable {
  return { file: FILE, points };
}

async function open(hooks: HookTable) {
  const { object, ...rest } = await openHooks(bpf, hooks, { file: FILE });
  object.close();
  return rest;
}

/** Returns whether this kernel supports a kind of function hook. Some kernels lack fentry, and some lack kprobes. */
async function allows(which: Hook): Promise<boolean> {
  const [status] = await surveyHooks(bpf, table({ what: 'received', choices: [{ hooks: [which] }] }));
  loads = [];
  return status?.hooks.length === 1;
}

const TABLES = PROBES.flatMap(({ name, hooks }) => (hooks === undefined ? [] : [[name, hooks] as const]));

describe.each([['discovery', LIFECYCLE_HOOKS] as const, ...TABLES])('the table of %s', (_, hooks) => {
  it('names programs of the object by their hooks', async () => {
    using object = await BpfObject.open(join(OBJECTS, hooks.file));
    const sections = new Map(object.programs.map(({ name, section }) => [name, section]));
    const declared = hooks.points.flatMap(({ choices }) => choices.flatMap((choice) => choice.hooks));
    for (const one of declared) expect(sections.get(one.program)).toBe(hookName(one));
    const others = [...(hooks.calls ?? []), ...(hooks.later ?? [])];
    expect(new Set([...declared.map(({ program }) => program), ...others])).toEqual(new Set(sections.keys()));
  });
});

it('loads all first choices in one go, without a trial', async () => {
  const { programs, statuses } = await open(
    table({ what: 'received', choices: [{ hooks: [TRACEPOINT] }, { hooks: [FENTRY] }] }, SENT),
  );
  expect(programs).toEqual(['tcp_reset_received', 'tcp_reset_sent_reason']);
  expect(statuses).toEqual([
    { what: 'received', hooks: ['tp_btf/tcp_receive_reset'], reason: '' },
    { what: 'sent', hooks: ['raw_tp/tcp_send_reset'], reason: '' },
  ]);
  expect(loads).toEqual([programs]);
});

it('leaves out, by the types of the kernel, hooks that it lacks', async () => {
  const { statuses } = await open(
    table(
      {
        what: 'received',
        choices: [
          { hooks: [hook('tp_btf/no_such_tracepoint', 1, 'tcp_reset_received')] },
          { hooks: [hook('tp_btf/tcp_receive_reset', 9, 'tcp_reset_received')] },
          { hooks: [TRACEPOINT], lacks: 'the tail' },
        ],
      },
      {
        what: 'wishes',
        optional: true,
        choices: [{ hooks: [hook('fentry/no_such_function', 1, 'tcp_reset_v4_entry')] }],
      },
    ),
  );
  expect(statuses).toEqual([
    { what: 'received', hooks: ['tp_btf/tcp_receive_reset'], reason: 'the tail' },
    { what: 'wishes', hooks: [], reason: 'this kernel has no function no_such_function' },
  ]);
  expect(loads).toHaveLength(1);
});

it('tries each point alone if the kernel refuses them together, and uses those that it allows', async () => {
  const [fentry, kprobe] = [await allows(FENTRY), await allows(KPROBE)];
  bpf.refusedKinds.clear();
  const choices = [{ hooks: [FENTRY] }, { hooks: [KPROBE] }, { hooks: [TRACEPOINT] }];
  const { statuses } = await open(table({ what: 'received', choices }, SENT));
  const best = fentry ? 'fentry/tcp_reset' : kprobe ? 'kprobe/tcp_reset' : 'tp_btf/tcp_receive_reset';
  expect(statuses[0]?.hooks).toEqual([best]);
  expect(statuses[1]?.hooks).toEqual(['raw_tp/tcp_send_reset']);
  if (!fentry) {
    expect(loads[0]).toEqual(['tcp_reset_received_entry', 'tcp_reset_sent_reason']);
    expect(loads[1]).toEqual(['tcp_reset_received_entry']);
    // The kernel has already refused this kind of hook, so it is not tried for the next table.
    loads = [];
    await open(table({ what: 'received', choices }, SENT));
    expect(loads.flat()).not.toContain('tcp_reset_received_entry');
  }
});

it('reports the missing hook if no choice is left', async () => {
  const gone = { what: 'wishes', choices: [{ hooks: [hook('kprobe/no_such_function', 1, 'tcp_reset_v4_probe')] }] };
  const failure = await open(table(SENT, gone)).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(HooksMissing);
  expect((failure as Error).message).toBe('wishes: this kernel has no function no_such_function');
  const survey = await surveyHooks(bpf, table(SENT, gone));
  expect(survey.map(({ what, hooks }) => [what, hooks.length])).toEqual([
    ['sent', 1],
    ['wishes', 0],
  ]);
});

it('reports why no other hook would do', async () => {
  const point = {
    what: 'wishes',
    why: 'only this one sees it',
    choices: [{ hooks: [hook('kprobe/no_such_function', 1, 'tcp_reset_v4_probe')] }],
  };
  const [status] = await surveyHooks(bpf, table(point));
  expect(status?.reason).toBe('this kernel has no function no_such_function; only this one sees it');
});

it('does not survey a hook that the kernel refuses as chosen, if another point is missing', async () => {
  const [fentry, kprobe] = [await allows(FENTRY), await allows(KPROBE)];
  const gone = { what: 'wishes', choices: [{ hooks: [hook('kprobe/no_such_function', 1, 'tcp_reset_v4_probe')] }] };
  const survey = await surveyHooks(
    bpf,
    table(
      { what: 'entered', choices: [{ hooks: [FENTRY] }] },
      { what: 'probed', choices: [{ hooks: [KPROBE] }] },
      gone,
    ),
  );
  expect(survey.map(({ hooks }) => hooks.length)).toEqual([Number(fentry), Number(kprobe), 0]);
});
