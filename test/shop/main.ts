import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openFolder } from './engines.ts';
import { FAULTS, type FaultName } from './faults.ts';
import { askShop, DEFAULT_FOLDER, isAlive, logOf, readState, removeShop, type State, waitForShop } from './state.ts';
import type { Truth } from './truth.ts';

const KEEPER = fileURLToPath(new URL('./keeper.ts', import.meta.url));
/**
 * First port for the agents' pages. It differs from the default port, which an agent on this machine may already use.
 */
const PORT = 9_111;
/** Enables the probes whose numbers show the faults, with limits that fit the light traffic. */
const CONFIG = `probes:
  flow: { enabled: true }
  dns: { enabled: true, storm: 50 }
  http: { enabled: true, slow: 1s, records: { failed: true, slow: 1s } }
peers: cluster
sinks: {}
`;

const USAGE = `the shop: twelve workloads with real servers on two nodes in network namespaces, with an agent on each node

  node test/shop/main.ts up [--config FILE] [--port PORT] [--no-agents]
                                          start it; the pages of the agents are at 127.0.0.1:PORT (default ${PORT}) and the next port
  node test/shop/main.ts fault NAME on|off   switch a fault on or off
  node test/shop/main.ts faults           list the faults, and show which are on
  node test/shop/main.ts truth [-o json]  show the edges that exist, as the programs themselves count them
  node test/shop/main.ts status           show the pages of the agents
  node test/shop/main.ts down             remove everything, also after a crash

  --folder DIR   directory of the shop's files (default ${DEFAULT_FOLDER}); a shop in another directory is another one
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    config: { type: 'string' },
    port: { type: 'string', default: String(PORT) },
    'no-agents': { type: 'boolean', default: false },
    folder: { type: 'string', default: DEFAULT_FOLDER },
    output: { type: 'string', short: 'o', default: 'text' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
const { folder } = values;
const [command = 'help', ...rest] = positionals;

const COMMANDS: Readonly<Record<string, () => Promise<string>>> = { up, down, fault, faults, truth, status };

const run = values.help ? undefined : COMMANDS[command];
try {
  process.stdout.write(run === undefined ? USAGE : await run());
  if (run === undefined && !values.help && command !== 'help') process.exitCode = 2;
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}

async function up(): Promise<string> {
  const found = readState(folder);
  if (found !== undefined && isAlive(found)) throw new Error(`a shop already runs in ${folder}\n${describe(found)}`);
  await removeShop(folder);
  openFolder(folder);
  const config = values.config === undefined ? CONFIG : readFileSync(values.config, 'utf8');
  const agents = values['no-agents'] ? [] : ['--config', config, '--port', values.port];
  const log = openSync(logOf(folder), 'w');
  const stdio = ['ignore', log, log] as const;
  const child = spawn(process.execPath, [KEEPER, '--folder', folder, ...agents], {
    detached: true,
    stdio: [...stdio],
  });
  closeSync(log);
  child.unref();
  try {
    return describe(await waitForShop(folder, () => child.exitCode !== null || child.signalCode !== null));
  } catch (error) {
    await removeShop(folder);
    throw error;
  }
}

async function down(): Promise<string> {
  return (await removeShop(folder)) ? 'the shop is gone\n' : `there is no shop in ${folder}\n`;
}

async function fault(): Promise<string> {
  const [name = '', state = ''] = rest;
  if (state !== 'on' && state !== 'off') throw new Error('give the name of a fault, and on or off');
  await askShop(folder, { command: 'fault', name, on: state === 'on' });
  return `${name} is ${state}\n`;
}

async function faults(): Promise<string> {
  const active = await askShop<readonly FaultName[]>(folder, { command: 'faults' });
  const line = ([name, { help }]: [string, { help: string }]) =>
    `${active.some((each) => each === name) ? 'on ' : 'off'} ${name.padEnd(18)} ${help}`;
  return `${Object.entries(FAULTS).map(line).join('\n')}\n`;
}

async function truth(): Promise<string> {
  const told = await askShop<Truth>(folder, { command: 'truth' });
  if (values.output === 'json') return `${JSON.stringify(told, null, 2)}\n`;
  const lines = told.edges.map(
    ({ client, server, port, connections, failed, sentBytes, receivedBytes }) =>
      `${nameOf(client)} -> ${nameOf(server)}:${port}  ${connections} connections, ${failed} failed, ${sentBytes} B sent, ${receivedBytes} B received`,
  );
  return `${lines.sort().join('\n')}\n`;
}

function nameOf({ namespace, name }: { namespace: string; name: string }): string {
  return namespace === '' ? name : `${namespace}/${name}`;
}

async function status(): Promise<string> {
  const found = readState(folder);
  if (found === undefined) return `there is no shop in ${folder}\n`;
  if (!isAlive(found)) return `the shop in ${folder} has crashed; \`down\` removes what is left\n`;
  return describe(found);
}

function describe({ pid, pages, isReady }: State): string {
  const shown = Object.entries(pages).map(([node, url]) => `${node}: ${url}\n`);
  return `the shop ${isReady ? 'is open' : 'starts'} (process ${pid})\n${shown.join('')}`;
}
