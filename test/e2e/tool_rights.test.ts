import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CapabilityName, RIGHTS } from '#core/rights.ts';
import { MEASURED_TOOLS_FILE, TOOL_RIGHTS, type ToolRights } from '../../scripts/rights_tables.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { CaptureProcess, CaptureScene, FAR } from '../support/capture_scene.ts';
import { startPython } from '../support/hosts.ts';
import { eventually } from '../support/oracle.ts';
import { runReach } from '../support/reach/run_scenario.ts';

/** `npm run rights` sets this. The results are then written to scripts/measured_tool_rights.json. */
const MEASURES = process.env['MEASURE_RIGHTS'] === '1';
const SET = RIGHTS.find(({ name }) => name === 'tools')?.adds ?? [];
const [OPEN, DROPPED, DROPPED_LEGACY] = [8080, 8081, 8082];
const POD_USER = 64_321;

/** A server, and a process of another user as in a Pod. */
const PROGRAM = `
import os, socket, time
server = socket.create_server(('0.0.0.0', ${OPEN}))
os.setgroups([])
os.setresgid(${POD_USER}, ${POD_USER}, ${POD_USER})
os.setresuid(${POD_USER}, ${POD_USER}, ${POD_USER})
print('ready', flush=True)
while True: server.accept()
`;

interface Outcome {
  readonly works: boolean;
  readonly told: string;
}
type Run = (wrapper: readonly string[]) => Promise<Outcome>;

const resources = new AsyncDisposableStack();
const measured: ToolRights[] = [];
let scene: CaptureScene;
let agent: AgentProcess;
let pid: number;

beforeAll(async () => {
  scene = resources.use(new CaptureScene());
  resources.use(await startPython(scene.far, PROGRAM));
  ({ pid } = resources.use(await startPython(scene.near, PROGRAM)));
  scene.far.exec('nft add table inet filter');
  scene.far.exec('nft add chain inet filter input { type filter hook input priority 0 ; }');
  scene.far.exec(`nft add rule inet filter input tcp dport ${DROPPED} drop`);
  scene.far.exec(`iptables-legacy -A INPUT -p tcp --dport ${DROPPED_LEGACY} -j DROP`);
  agent = resources.use(await AgentProcess.serve());
  await eventually(async () => {
    const { entities } = await agent.json<{ entities: readonly { pod: string }[] }>('/api/v1/entities');
    expect(entities.map(({ pod }) => pod)).toEqual(expect.arrayContaining([scene.near.name, scene.far.name]));
  });
});

afterAll(async () => {
  await resources.disposeAsync();
  if (MEASURES) writeFileSync(MEASURED_TOOLS_FILE, JSON.stringify(measured));
});

const only = (capabilities: readonly CapabilityName[]) => [
  'setpriv',
  `--bounding-set=${['-all', ...capabilities.map((name) => `+${name.toLowerCase()}`)].join(',')}`,
  '--inh-caps=-all',
];

const netns = () => ['--netns', scene.near.name];
const ofProcess = () => ['--pid', String(pid)];

function reach(from: () => readonly string[], port: number | undefined, ...options: readonly string[]): Run {
  return async (wrapper) => {
    const to = port === undefined ? FAR : `${FAR}:${port}`;
    const args = [...from(), '--to', to, '--timeout', '1s', '--url', agent.url ?? '', ...options];
    const { code, stdout, stderr } = await runReach(args, {}, wrapper);
    const works = options.includes('--rules') ? /; rule: rule \d+ /.test(stdout) : code === 0;
    return { works, told: stdout + stderr };
  };
}

function capture(target: () => readonly string[], ...options: readonly string[]): Run {
  return async (wrapper) => {
    const args = [...target(), '--for', '100ms', '-w', '-', ...options];
    await using run = await CaptureProcess.start(args, 'cat > /dev/null', wrapper);
    const { code, stderr } = await run.ended();
    return { works: code === 0, told: stderr };
  };
}

const MODES: Readonly<Record<string, Run>> = {
  'netsonde reach --netns': reach(netns, OPEN),
  'netsonde reach --pid': reach(ofProcess, OPEN),
  'netsonde reach --netns --icmp': reach(netns, undefined, '--icmp'),
  'netsonde reach --netns --rules': reach(netns, DROPPED, '--rules'),
  'netsonde reach --netns --rules (iptables-legacy)': reach(netns, DROPPED_LEGACY, '--rules'),
  'netsonde capture --node': capture(() => ['--node']),
  'netsonde capture --netns': capture(netns),
  'netsonde capture --pid': capture(ofProcess),
  'netsonde capture --netns --drops': capture(netns, '--drops'),
  'netsonde capture --pid --drops': capture(ofProcess, '--drops'),
};

it('the document lists all commands', () => {
  expect(TOOL_RIGHTS.map(({ mode }) => mode)).toEqual(Object.keys(MODES));
});

describe.each(Object.entries(MODES))('%s', (mode, run) => {
  it('works with the documented rights only, and names each one that it lacks, and the set', async () => {
    const whole = await run(only(SET));
    expect(whole).toMatchObject({ works: true });
    const needs: CapabilityName[] = [];
    for (const missing of SET) {
      const { works, told } = await run(only(SET.filter((name) => name !== missing)));
      if (works) continue;
      needs.push(missing);
      expect(told).toMatch(new RegExp(`CAP_${missing}\\b.*the set \`tools\``, 's'));
    }
    expect(await run(only(needs))).toMatchObject({ works: true });
    measured.push({ mode, needs });
    if (!MEASURES) expect(needs).toEqual(TOOL_RIGHTS.find((one) => one.mode === mode)?.needs);
  });
});
