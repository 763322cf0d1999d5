import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ConfigMapVersion } from '#config/configmap.ts';
import { ConfigError } from '#config/faults.ts';
import { ConfigReader } from '#config/load.ts';
import { SectionExpiry } from '#config/section_expiry.ts';
import type { Labels } from '#core/selector.ts';
import { Files } from '#files/files.ts';
import type { PodLabels } from '#pods/labels.ts';
import type { DesiredKernel } from '#probe/contract.ts';
import { PROBES } from '#probes/index.ts';
import { ConfigLoop } from './config_loop.ts';

const READER = new ConfigReader(PROBES);
const DEFAULTS = {
  file: '/etc/netsonde.yaml',
  configMap: null,
  generation: 0,
  successful: false,
  notice: '',
  rejected: null,
};
const START = Date.UTC(2026, 10, 21, 3);

let directory: string;
let loop: ConfigLoop;
/** Names of the completed steps, in order. */
let steps: string[];
let logs: string[];
let rejected: (readonly [string, ConfigMapVersion | undefined])[];
/** The most recent state that the kernel thread was asked to apply. */
let desired: DesiredKernel | undefined;
let podLabels: PodLabels | undefined;
/** Runs in each step. A test replaces it to make a follower or the kernel thread fail or wait. */
let during: (step: string) => void | Promise<void>;

const isOn = (probe: string) => desired?.probes[probe] !== undefined;

async function open(nodeLabels: Labels = {}): Promise<ConfigLoop> {
  const step = async (name: string) => {
    steps.push(name);
    await during(name);
  };
  return new ConfigLoop({
    origin: { file: '/etc/netsonde.yaml', configMap: null },
    reader: READER,
    expiry: await SectionExpiry.open({
      directory,
      files: new Files(),
      proc: '/proc',
      warn: (message) => logs.push(`warn ${message}`),
    }),
    nodeLabels,
    followers: {
      log: ({ log }) => step(`log ${log.level}`),
      sinks: ({ events }) => step(`sinks ${events.history}`),
    },
    kernel: {
      labelPods: async (labels) => {
        await step('labels');
        podLabels = labels;
      },
      configure: async (wish) => {
        desired = wish;
        await step('probes');
      },
    },
    log: (level, message) => logs.push(`${level} ${message}`),
    rejected: (error, version) => rejected.push([error.message, version]),
  });
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'config_loop-'));
  steps = [];
  logs = [];
  rejected = [];
  desired = undefined;
  podLabels = undefined;
  during = () => undefined;
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'hrtime'], now: START });
  loop = await open();
});

afterEach(async () => {
  await loop[Symbol.asyncDispose]();
  vi.useRealTimers();
  rmSync(directory, { recursive: true, force: true });
});

describe('the first document', () => {
  it('is applied part by part in their order, the kernel thread last', async () => {
    await loop.begin({
      text: '{ log: { level: debug }, events: { history: 7 }, labels: { app: app }, bpfStats: true, probes: { udp: false } }',
    });
    expect(steps).toEqual(['log debug', 'sinks 7', 'labels', 'probes']);
    expect(podLabels).toEqual({ app: 'app' });
    expect(desired).toMatchObject({ bpfStats: true });
    expect([isOn('udp'), isOn('tcp')]).toEqual([false, true]);
    expect(loop.status).toEqual({ ...DEFAULTS, generation: 1, successful: true, appliedMs: START });
    expect(loop.document).toMatchObject({ log: { level: 'debug' } });
    expect(loop.isApplied).toBe(true);
  });

  it('is that of all defaults if there is none', async () => {
    expect(loop.status).toEqual({ ...DEFAULTS, appliedMs: 0 });
    await loop.begin();
    expect(isOn('udp')).toBe(true);
    expect(loop.document).toEqual(READER.defaults.document);
    expect(loop.status).toMatchObject({ generation: 1, successful: true });
  });

  it.each([
    ['probes: 5', 'probes'],
    ['probes: { udpp: false }', 'probes.udpp'],
  ])('that is faulty (%s) reaches the caller with its faults, and nothing is applied', async (text, path) => {
    expect(() => loop.check({ text })).toThrow(ConfigError);
    const failure: unknown = await loop.begin({ text }).catch((error: unknown) => error);
    expect((failure as ConfigError).faults.map((fault) => fault.path)).toEqual([path]);
    expect(steps).toEqual([]);
    expect(loop.isApplied).toBe(false);
  });

  it('that cannot be read reaches the caller with the reason', async () => {
    expect(() => loop.check({ error: 'EACCES' })).toThrow('cannot be read: EACCES');
    await expect(loop.begin({ error: 'EACCES' })).rejects.toThrow('cannot be read: EACCES');
  });

  it('is not applied by a check', () => {
    loop.check({ text: 'log: { level: debug }' });
    expect(steps).toEqual([]);
    expect(loop.document).toEqual(READER.defaults.document);
  });
});

describe('a later document', () => {
  it('replaces the active one', async () => {
    await loop.begin({ text: 'probes: { udp: false }' });
    vi.setSystemTime(START + 1_000);
    await loop.reload({ text: 'probes: { tcp: false }' });
    expect([isOn('udp'), isOn('tcp')]).toEqual([true, false]);
    expect(loop.status).toMatchObject({ generation: 2, successful: true, appliedMs: START + 1_000 });
    expect(logs).toEqual(['info configuration 2 applied']);
  });

  it('that is invalid changes nothing and is reported with its version; the next good one is applied', async () => {
    await loop.begin({ text: 'probes: { udp: false }' });
    steps = [];
    const version = { uid: 'u', resourceVersion: '7' };
    await loop.reload({ text: 'probes: { udp: maybe, tpc: {} }' }, version);
    expect(steps).toEqual([]);
    expect(loop.document).toMatchObject({ probes: { udp: { enabled: false } } });
    expect(loop.status).toMatchObject({
      generation: 1,
      successful: false,
      appliedMs: START,
      rejected: {
        at: new Date(START).toISOString(),
        faults: [{ path: 'probes.udp' }, { path: 'probes.tpc' }],
      },
    });
    expect(rejected).toEqual([[expect.stringContaining('did you mean tcp?'), version]]);
    expect(logs).toEqual([expect.stringMatching(/^error the new configuration is not applied:\nprobes\.udp: /)]);
    await loop.reload({ error: 'it is gone' });
    expect(loop.status.rejected?.faults).toEqual([{ path: '', value: '', allowed: 'cannot be read: it is gone' }]);
    await loop.reload({ text: '{}' });
    expect(loop.status).toMatchObject({ generation: 2, successful: true, rejected: { faults: [{ path: '' }] } });
    expect(isOn('udp')).toBe(true);
  });

  it('waits until the one before is fully applied, even if it came in the meantime', async () => {
    await loop.begin();
    steps = [];
    const gate = Promise.withResolvers<void>();
    during = (step) => (step === 'sinks 1' ? gate.promise : undefined);
    const all = [
      loop.reload({ text: 'events: { history: 1 }' }),
      loop.reload({ text: 'events: { history: x }' }),
      loop.reload({ text: 'events: { history: 3 }' }),
    ];
    await vi.waitFor(() => expect(steps).toEqual(['log info', 'sinks 1']));
    expect(loop.status.generation).toBe(1);
    expect(rejected).toEqual([]);
    gate.resolve();
    await Promise.all(all);
    expect(steps).toEqual(['log info', 'sinks 1', 'labels', 'probes', 'log info', 'sinks 3', 'labels', 'probes']);
    expect(logs).toEqual([
      'info configuration 2 applied',
      expect.stringMatching(/^error the new configuration is not applied:\nevents\.history/),
      'info configuration 3 applied',
    ]);
  });

  it('is no longer applied once the agent ends, which waits for the one that is being applied', async () => {
    await loop.begin();
    steps = [];
    const gate = Promise.withResolvers<void>();
    during = (step) => (step === 'log debug' ? gate.promise : undefined);
    void loop.reload({ text: 'log: { level: debug }' });
    void loop.reload({ text: 'log: { level: warn }' });
    await vi.waitFor(() => expect(steps).toEqual(['log debug']));
    const ended = loop[Symbol.asyncDispose]().then(() => steps.push('ended'));
    gate.resolve();
    await ended;
    expect(steps).toEqual(['log debug', 'sinks 1000', 'labels', 'probes', 'ended']);
  });
});

describe('a document that is late', () => {
  it('is replaced by all defaults, and applied as the first once it arrives', async () => {
    await loop.fallBack();
    expect(isOn('udp')).toBe(true);
    expect(loop.isApplied).toBe(true);
    expect(loop.status).toMatchObject({
      generation: 0,
      successful: false,
      rejected: { faults: [{ path: '', allowed: 'cannot be read: the Kubernetes API has not responded yet' }] },
    });
    await loop.reload({ text: 'probes: { udp: false }' });
    expect(isOn('udp')).toBe(false);
    expect(loop.status).toMatchObject({ generation: 1, successful: true });
  });

  it('has its reason reported, if that is known', async () => {
    await loop.fallBack('configmaps: https://api 403 forbidden');
    expect(loop.status.rejected?.faults).toEqual([
      { path: '', value: '', allowed: 'cannot be read: configmaps: https://api 403 forbidden' },
    ]);
  });

  it('needs no defaults if it came just in time', async () => {
    const inTime = loop.reload({ text: 'probes: { udp: false }' });
    await loop.fallBack();
    await inTime;
    expect(steps.filter((step) => step === 'probes')).toHaveLength(1);
    expect(isOn('udp')).toBe(false);
    expect(loop.status).toMatchObject({ generation: 1, successful: true, rejected: null });
  });

  it('and invalid leaves all defaults, with its own errors', async () => {
    void loop.reload({ text: 'probes: 5' });
    await loop.fallBack();
    expect(isOn('udp')).toBe(true);
    expect(loop.status).toMatchObject({ generation: 0, successful: false, rejected: { faults: [{ path: 'probes' }] } });
    expect(rejected).toHaveLength(1);
  });
});

describe('a section that ends', () => {
  it('reverts by itself, as the same generation', async () => {
    await loop.begin({ text: 'probes: { udp: { enabled: false, for: 5s } }' });
    expect(isOn('udp')).toBe(false);
    expect(loop.until('udp')).toBe(new Date(START + 5_000).toISOString());
    await vi.advanceTimersByTimeAsync(4_999);
    expect(isOn('udp')).toBe(false);
    await vi.advanceTimersByTimeAsync(2);
    await vi.waitFor(() => expect(isOn('udp')).toBe(true));
    expect(loop.until('udp')).toBeNull();
    expect(loop.status).toMatchObject({ generation: 1, successful: true, appliedMs: START });
    expect(logs).toEqual(['info probes.udp: expired']);
  });

  it.each([
    ['back', -3_600_000],
    ['forward', 3_600_000],
  ])('reverts on time where the wall clock is set an hour %s', async (_, byMs) => {
    await loop.begin({ text: 'probes: { udp: { enabled: false, for: 20s } }' });
    vi.setSystemTime(START + byMs);
    expect(loop.until('udp')).toBe(new Date(START + byMs + 20_000).toISOString());
    await vi.advanceTimersByTimeAsync(19_999);
    expect(isOn('udp')).toBe(false);
    await vi.advanceTimersByTimeAsync(2);
    await vi.waitFor(() => expect(isOn('udp')).toBe(true));
  });

  it('keeps its end when another part of the document changes', async () => {
    await loop.begin({ text: 'probes: { udp: { enabled: false, for: 5s } }' });
    await vi.advanceTimersByTimeAsync(3_000);
    await loop.reload({ text: '{ detail: full, probes: { udp: { enabled: false, for: 5s } } }' });
    expect(loop.until('udp')).toBe(new Date(START + 5_000).toISOString());
    await vi.advanceTimersByTimeAsync(2_001);
    await vi.waitFor(() => expect(isOn('udp')).toBe(true));
  });
});

describe('labels of the node', () => {
  const DOCUMENT = 'nodes: { pool=edge: { probes: { udp: false } }, zone=a: { probes: { tcp: false } } }';

  it('choose other overrides of the active document, and make a new generation only if they do', async () => {
    await loop[Symbol.asyncDispose]();
    loop = await open({ zone: 'a' });
    await loop.begin({ text: DOCUMENT });
    expect([isOn('udp'), isOn('tcp')]).toEqual([true, false]);
    await loop.setNodeLabels({ pool: 'edge' });
    expect([isOn('udp'), isOn('tcp')]).toEqual([false, false]);
    expect(loop.status).toMatchObject({ generation: 2, successful: true });
    steps = [];
    await loop.setNodeLabels({ pool: 'edge', other: 'x' });
    expect(steps).toEqual([]);
    await loop.setNodeLabels({ zone: 'b' });
    expect([isOn('udp'), isOn('tcp')]).toEqual([true, true]);
    expect(loop.status).toMatchObject({ generation: 3 });
  });

  it('that arrive before the document hold for it', async () => {
    await loop.setNodeLabels({ pool: 'edge' });
    expect(steps).toEqual([]);
    await loop.begin({ text: DOCUMENT });
    expect(isOn('udp')).toBe(false);
    expect(loop.status.generation).toBe(1);
  });

  it('hold for the active document, even after an invalid one', async () => {
    await loop.begin({ text: DOCUMENT });
    await loop.reload({ text: 'probes: 5' });
    await loop.setNodeLabels({ pool: 'edge' });
    expect(isOn('udp')).toBe(false);
    expect(rejected).toHaveLength(1);
  });

  it('that choose a section which ended long ago change nothing, even when another section reverts', async () => {
    const version = { uid: 'u', resourceVersion: '7' };
    const over = 'nodes: { pool=edge: { probes: { udp: { enabled: false, until: 2020-01-01T00:00:00Z } } } }';
    await loop.begin();
    await loop.reload({ text: `{ probes: { softirq: { enabled: true, for: 5s } }, ${over} }` }, version);
    await loop.setNodeLabels({ pool: 'edge' });
    expect([isOn('udp'), isOn('softirq')]).toEqual([true, true]);
    expect(loop.status).toMatchObject({ generation: 2, successful: false });
    expect(rejected).toEqual([[expect.stringContaining('"2020-01-01T00:00:00.000Z" is not allowed'), version]]);
    await vi.advanceTimersByTimeAsync(5_001);
    await vi.waitFor(() => expect(isOn('softirq')).toBe(false));
    expect(isOn('udp')).toBe(true);
  });
});

describe('a part that fails to follow', () => {
  const fails = (part: string) => (step: string) => {
    if (step.startsWith(part)) throw new Error('broken');
  };
  const FAULT = { path: 'log', value: '', allowed: 'could not be applied, but everything else was: broken' };

  it('keeps no other part from following, and shows in the status until a document is fully applied', async () => {
    during = fails('log');
    await loop.begin({ text: 'probes: { udp: false }' });
    expect(steps).toEqual(['log info', 'sinks 1000', 'labels', 'probes']);
    expect(isOn('udp')).toBe(false);
    expect(loop.isApplied).toBe(true);
    expect(loop.status).toMatchObject({ generation: 1, successful: false, rejected: { faults: [FAULT] } });
    expect(logs).toEqual([`error log: ${FAULT.allowed}`]);
    during = () => undefined;
    await loop.reload({ text: '{}' });
    expect(loop.status).toMatchObject({ generation: 2, successful: true });
  });

  it('shows as well after a section has reverted', async () => {
    await loop.begin({ text: 'probes: { udp: { enabled: false, for: 5s } }' });
    during = fails('log');
    await vi.advanceTimersByTimeAsync(5_001);
    await vi.waitFor(() => expect(loop.status.successful).toBe(false));
    expect(isOn('udp')).toBe(true);
    expect(loop.status).toMatchObject({ generation: 1, rejected: { faults: [FAULT] } });
  });

  it.each(['labels', 'probes'])('is not an error if the kernel thread is lost while it gets %s', async (told) => {
    during = fails(told);
    await loop.begin({ text: '{ labels: { app: app }, probes: { udp: false } }' });
    expect(loop.status).toMatchObject({ generation: 1, successful: true, rejected: null });
    expect(logs).toEqual(['warn the probes change when the next kernel thread starts: broken']);
    // The client keeps the request and sends it when the next thread has started.
    expect(isOn('udp')).toBe(false);
  });
});
