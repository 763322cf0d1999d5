import { globSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { AgentProcess } from '../test/support/agent_process.ts';
import { median, Namespaces, type Row, wallMs } from './measure.ts';

const DIST = fileURLToPath(new URL('../dist', import.meta.url));
const NAMESPACES = 110;
const SCRAPES = 200;
const STARTS = 5;

function residentMb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1000;
}

/** Returns the size of a bundle, including all bundles that it imports statically. */
function sizeMb(name: string, seen = new Set<string>()): number {
  if (seen.has(name)) return 0;
  seen.add(name);
  const path = join(DIST, name);
  const imports = readFileSync(path, 'utf8').matchAll(/(?:from|^import|;import)\s*"\.\/([^"]+)"/gm);
  return [...imports].reduce((sum, [, chunk = '']) => sum + sizeMb(chunk, seen), statSync(path).size / 1e6);
}

/** Returns the size of the bundles that the main thread loads: `main.js` and the command `serve`. */
function mainMb(): number {
  const [command = ''] = globSync('serve-*.js', { cwd: DIST });
  const seen = new Set<string>();
  return sizeMb('main.js', seen) + sizeMb(command, seen);
}

/** Measures the agent on a node with 110 Pods: its memory, its size on disk, and its start time. */
export async function benchFootprint(): Promise<Row[]> {
  await using _namespaces = await Namespaces.create(NAMESPACES);
  const starts = await wallMs(STARTS, async () => {
    await using _agent = await AgentProcess.serve();
  });
  await using agent = await AgentProcess.serve();
  for (let scrape = 0; scrape < SCRAPES; scrape++) {
    await (await agent.get('/metrics', { 'accept-encoding': 'gzip' })).arrayBuffer();
    await wait(20);
  }
  const bench = `the agent beside ${NAMESPACES} namespaces, core`;
  return [
    {
      bench,
      what: `resident after ${SCRAPES} scrapes`,
      value: residentMb(agent.pid),
      unit: 'MB',
      bound: { atMost: 120 },
    },
    { bench, what: 'until it serves (median)', value: median(starts), unit: 'ms' },
    { bench, what: 'bundle of the main thread', value: mainMb(), unit: 'MB' },
    { bench, what: 'bundle of the kernel thread', value: sizeMb('kernel_thread.js'), unit: 'MB' },
  ];
}
