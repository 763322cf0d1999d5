import { release } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import { desiredProbes } from '#agent/desired_kernel.ts';
import type { ProbeStatus } from '#api/probes.ts';
import { ConfigError } from '#config/faults.ts';
import { ConfigReader } from '#config/load.ts';
import { pastError } from '#config/section_expiry.ts';
import { readContent } from '#config/watch.ts';
import { OBJECTS } from '#core/assets.ts';
import { inertJson, visibleLines } from '#core/inert.ts';
import type { Paths } from '#core/paths.ts';
import type { Labels } from '#core/selector.ts';
import { newToolSocket } from '#core/tool_socket.ts';
import { Files } from '#files/files.ts';
import { webFileFault } from '#http/web_file.ts';
import { Kernel } from '#kernel/kernel.ts';
import type { AnyProbe } from '#probe/contract.ts';
import type { HookStatus } from '#probe/hooks.ts';
import { PROBES } from '#probes/index.ts';
import { probesWith } from './enabled_probes.ts';
import { NODE_OPTIONS, nodeLabelsOf, parseOptions, pathsOf } from './options.ts';
import { renderTable } from './table.ts';

interface CheckOptions {
  readonly configFile: string | undefined;
  readonly paths: Paths;
  readonly nodeLabels: Labels;
  readonly probes: readonly AnyProbe[];
  readonly strict: boolean;
  readonly json: boolean;
  readonly webConfigFile: string | undefined;
}

/** Output of `check --json`. */
export interface CheckReport {
  /** Kernel release. */
  readonly kernel: string;
  /** States of the probes. Discovery comes first, and is reported like a probe. */
  readonly probes: readonly Pick<ProbeStatus, 'name' | 'state' | 'reader' | 'reason'>[];
  /** Hooks that this kernel supports for discovery and for all BPF probes, including disabled ones. */
  readonly hooks: readonly ({ readonly probe: string } & HookStatus)[];
}

interface CheckOutcome {
  readonly text: string;
  readonly exitCode: 0 | 1;
}

/** Runs `netsonde check`. */
export async function runCheck(args: readonly string[]): Promise<number> {
  const values = parseOptions(args, {
    ...NODE_OPTIONS,
    strict: { type: 'boolean' },
    json: { type: 'boolean' },
    'web.config.file': { type: 'string' },
  });
  const { text, exitCode } = await check({
    configFile: values.config,
    paths: pathsOf(values),
    nodeLabels: nodeLabelsOf(values['node-label']),
    probes: probesWith(values.enable),
    strict: values.strict === true,
    json: values.json === true,
    webConfigFile: values['web.config.file'],
  });
  process.stdout.write(`${visibleLines(text)}\n`);
  return exitCode;
}

/**
 * Validates the configuration and the web configuration, starts the enabled probes, collects once, and reports the
 * state of each probe and the hooks that this kernel supports. Fails if a configuration is invalid or a probe failed.
 * With `strict`, also fails if a probe is unsupported or degraded.
 */
async function check({
  configFile,
  paths,
  nodeLabels,
  probes,
  strict,
  json,
  webConfigFile,
}: CheckOptions): Promise<CheckOutcome> {
  const reader = new ConfigReader(probes);
  let config = reader.defaults;
  if (configFile !== undefined) {
    const content = await readContent(new Files(), configFile);
    if ('error' in content) return { text: content.error, exitCode: 1 };
    try {
      config = reader.parse(content.text, nodeLabels);
      const past = config.timed.filter(({ end }) => 'untilMs' in end && end.untilMs <= Date.now());
      if (past.length > 0) throw pastError(past, Date.now());
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return { text: error.message, exitCode: 1 };
    }
  }
  const webFault = webConfigFile === undefined ? undefined : await webFileFault(new Files(), webConfigFile);
  if (webFault !== undefined) return { text: webFault, exitCode: 1 };
  await using kernel = await Kernel.open(
    { paths, objects: OBJECTS, node: '', kubernetes: false, toolSocket: newToolSocket() },
    { probes: PROBES, events: () => undefined, records: () => undefined, log: () => undefined },
  );
  await kernel.configure(desiredProbes(config), config.bpfStats);
  await untilStarted(kernel);
  await kernel.page('text');
  // A probe that failed may have been opened again during the collection.
  await untilStarted(kernel);
  const report: CheckReport = {
    kernel: release(),
    probes: [kernel.discovery(), ...kernel.probes()].map(({ name, state, reader, reason }) => ({
      name,
      state,
      reader,
      reason,
    })),
    hooks: (await kernel.hooks()).flatMap(({ probe, statuses }) => statuses.map((status) => ({ probe, ...status }))),
  };
  const bad = new Set(strict ? ['failed', 'unsupported', 'degraded'] : ['failed']);
  return {
    text: json ? inertJson(JSON.stringify(report, undefined, 2)) : tables(report),
    exitCode: report.probes.some(({ state }) => bad.has(state)) ? 1 : 0,
  };
}

/**
 * Maximum time of the wait. The supervisor gives up a probe earlier, but the verifier blocks its thread, for minutes
 * under emulation.
 */
const START_MS = 180_000;
const LOOK_MS = 100;

/** Waits until the verifier has accepted or refused the programs of all probes. */
async function untilStarted(kernel: Kernel): Promise<void> {
  const deadlineMs = performance.now() + START_MS;
  while (kernel.probes().some(({ state }) => state === 'starting') && performance.now() < deadlineMs) {
    await wait(LOOK_MS);
  }
}

/** Renders a table of the probes and a table of the hooks. */
function tables({ probes, hooks }: CheckReport): string {
  const states = probes.map(({ name, state, reader, reason }) => [name, state, reader, reason]);
  const points = hooks.map(({ probe, what, hooks, reason }) => [
    probe,
    what,
    [...new Set(hooks)].join(', ') || 'none',
    reason,
  ]);
  return [
    renderTable([['PROBE', 'STATE', 'READER', 'REASON'], ...states]),
    renderTable([['PROBE', 'SEES', 'HOOK', 'REASON'], ...points]),
  ].join('\n\n');
}
