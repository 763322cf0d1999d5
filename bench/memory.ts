import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { AgentProcess } from '../test/support/agent_process.ts';
import { Namespaces, type Row } from './measure.ts';
import { memoryProbe, threadsOf } from './thread_memory.ts';

const NAMESPACES = 110;
const SCRAPES = 60;
const KB = 1024;
const MB = 1e6;

/**
 * Returns the resident bytes of a process by mapped file (man 5 proc, smaps). The key of anonymous memory is the empty
 * string.
 */
function residentByMapping(pid: number): { readonly name: string; readonly bytes: number }[] {
  const mappings: { name: string; bytes: number }[] = [];
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    const [, name] = /^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ *(.*)$/.exec(line) ?? [];
    if (name !== undefined) mappings.push({ name, bytes: 0 });
    const rss = /^Rss: +(\d+) kB$/.exec(line)?.[1];
    const last = mappings.at(-1);
    if (rss !== undefined && last !== undefined) last.bytes += Number(rss) * KB;
  }
  return mappings;
}

/**
 * Returns the bytes that the kernel holds for a process's BPF maps and programs (`memlock` in fdinfo). Duplicate
 * descriptors count once.
 */
function lockedBytes(pid: number, kind: 'map' | 'prog'): number {
  const byId = new Map<string, number>();
  for (const fd of readdirSync(`/proc/${pid}/fdinfo`)) {
    let text: string;
    try {
      text = readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8');
    } catch {
      continue;
    }
    const id = new RegExp(`^${kind}_id:\\s+(\\d+)$`, 'm').exec(text)?.[1];
    const bytes = /^memlock:\s+(\d+)$/m.exec(text)?.[1];
    if (id !== undefined && bytes !== undefined) byId.set(id, Number(bytes));
  }
  return [...byId.values()].reduce((sum, bytes) => sum + bytes, 0);
}

/** Measures the resident memory of a running agent by use, and the kernel memory of its BPF objects. */
export async function benchMemory(): Promise<Row[]> {
  await using _namespaces = await Namespaces.create(NAMESPACES);
  await using agent = await AgentProcess.serve([], [], memoryProbe());
  for (let scrape = 0; scrape < SCRAPES; scrape++) {
    await (await agent.get('/metrics', { 'accept-encoding': 'gzip' })).arrayBuffer();
    await wait(1_000);
  }
  const { main, kernel } = await threadsOf(agent);
  const mappings = residentByMapping(agent.pid);
  const sum = (isMeant: (name: string) => boolean) =>
    mappings.reduce((total, { name, bytes }) => total + (isMeant(name) ? bytes : 0), 0);
  const isFile = (name: string) => name.startsWith('/');
  const isNode = (name: string) => /\/bin\/node$/.test(name);
  const anonymous = sum((name) => !isFile(name));
  const known = main.heap + kernel.heap + main.arrayBuffers + kernel.arrayBuffers;
  const bench = `memory of the agent beside ${NAMESPACES} namespaces, scraped every second`;
  const rows: readonly (readonly [string, number])[] = [
    ['resident', sum(() => true)],
    ["pages of Node.js' own file", sum(isNode)],
    ['pages of other files: libraries, the addon', sum((name) => isFile(name) && !isNode(name))],
    ['anonymous', anonymous],
    ['V8 heap, main thread', main.heap],
    ['V8 heap, kernel thread', kernel.heap],
    ['array buffers: dumps, pages, rings', main.arrayBuffers + kernel.arrayBuffers],
    ['malloc: libbpf with its BTF, libuv, zones of V8, stacks', anonymous - known],
    ['beside it, in the kernel: BPF maps', lockedBytes(agent.pid, 'map')],
    ['beside it, in the kernel: BPF programs', lockedBytes(agent.pid, 'prog')],
  ];
  return rows.map(([what, bytes]) => ({ bench, what, value: bytes / MB, unit: 'MB' }));
}
