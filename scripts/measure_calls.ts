import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { PROBES } from '#probes/index.ts';

/**
 * Runs the built agent under strace, with every probe and every sink that works without a server. Writes its system
 * calls to scripts/measured_calls.json, from which scripts/seccomp_profile.ts builds the profile. Must be run as root:
 * `node scripts/measure_calls.ts`.
 */

const PROJECT = fileURLToPath(new URL('..', import.meta.url));
const MEASURED = new URL('measured_calls.json', import.meta.url);
const RUN_MS = 45_000;
const EVERY_MS = 3_000;
const PAGES = ['metrics', 'api/v1/probes', 'api/v1/entities', 'api/v1/events', ''];

const folder = mkdtempSync(join(tmpdir(), 'calls-'));
const summary = join(folder, 'summary');
const config = join(folder, 'config.yaml');
const probes = PROBES.map(({ name }) => `  ${name}: ${name === 'conntrack' ? '{ states: true }' : 'true'}`);
const documentOf = (level: string) =>
  [
    'detail: full',
    'bpfStats: true',
    `log: { level: ${level} }`,
    'sinks:',
    '  stdout: {}',
    `  file: { path: "${folder}/events.jsonl" }`,
    `  loki: { url: "http://127.0.0.1:9", spool: { directory: "${folder}/spool" } }`,
    'probes:',
    ...probes,
  ].join('\n');
writeFileSync(config, documentOf('info'));

/** Requests a URL. Aborts the request after EVERY_MS, because event streams do not end. */
function look(url: string): Promise<unknown> {
  return fetch(url, { signal: AbortSignal.timeout(EVERY_MS) })
    .then((answer) => answer.text())
    .catch(() => undefined);
}

function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]);
}

const options = [
  '--config',
  config,
  '--listen',
  '127.0.0.1:0',
  '--state',
  join(folder, 'state'),
  '--api-socket',
  join(folder, 'api.sock'),
];
const strace = spawn('strace', ['-f', '-c', '-qq', '-o', summary, join(PROJECT, 'bin/netsonde'), 'serve', ...options], {
  stdio: ['ignore', 'ignore', 'pipe'],
});
let log = '';
strace.stderr.setEncoding('utf8').on('data', (text: string) => {
  log += text;
});
const ended = new Promise((resolve) => strace.once('exit', resolve));
try {
  const startedMs = performance.now();
  while (performance.now() - startedMs < RUN_MS) {
    await wait(EVERY_MS);
    const address = /serves on (\S+)/.exec(log)?.[1];
    if (address !== undefined) await Promise.all(PAGES.map((path) => look(`http://${address}/${path}`)));
    writeFileSync(config, documentOf(log.includes(' debug ') ? 'info' : 'debug'));
  }
  process.kill(childOf(strace.pid ?? 0), 'SIGTERM');
  await ended;
  const calls = [...readFileSync(summary, 'utf8').matchAll(/^\s*[\d.]+\s.*\s(\w+)$/gm)].map(([, name]) => name);
  const names = [...new Set(calls)].filter((name) => name !== 'total').sort();
  writeFileSync(MEASURED, `${JSON.stringify(names, null, 2)}\n`);
  process.stdout.write(`${names.length} system calls: ${MEASURED.pathname}\n`);
} finally {
  strace.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
