import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Agent } from '#agent/agent.ts';
import { createLog } from '#agent/log.ts';
import { check } from '#commands/check.ts';
import { convertFile } from '#commands/convert.ts';
import { showEvents } from '#commands/events.ts';
import { idle } from '#commands/idle.ts';
import { listProbes } from '#commands/probes.ts';
import { parseConfigMapRef } from '#config/configmap.ts';
import { ConfigError } from '#config/faults.ts';
import { readVersion } from '#core/assets.ts';
import { DEFAULT_PATHS, type Paths } from '#core/paths.ts';
import { isLabel, type Labels } from '#core/selector.ts';
import { DEFAULT_LISTEN, type ListenAddress, parseListenAddress } from '#http/listen_address.ts';
import { MODES, type Mode, usesKubernetes } from '#kubernetes/mode.ts';

const DEFAULT_STATE = '/var/lib/netsonde';

const USAGE = `netsonde: what the network does to every Pod of this node

  netsonde serve [--config FILE] [--listen HOST:PORT]   serve metrics and events (default :${DEFAULT_LISTEN.port}, all addresses)
  netsonde check [--config FILE] [--strict] [--json]    validate the configuration, open every probe, say what became of it
  netsonde events [--follow] [--pod NAMESPACE/NAME] …   show the events of an agent
  netsonde probes                                       list all probes
  netsonde convert FILE [--strict] [-o yaml|configmap]  netsonde's configuration for one of KubeSkoop
  netsonde idle                                         wait: for a container in which other commands are run

Options of serve and check:
  --config FILE       configuration (YAML); without it all defaults hold
  --proc DIR          where procfs is mounted (default ${DEFAULT_PATHS.proc})
  --sys DIR           where sysfs is mounted (default ${DEFAULT_PATHS.sys})
  --cgroup DIR        where cgroups are mounted (default ${DEFAULT_PATHS.cgroup})
  --netns DIR         where network namespaces are mounted (default ${DEFAULT_PATHS.netns})
  --node-label K=V    a label of this node, for \`nodes\` in the configuration; may be given many times
Options of serve:
  --listen HOST:PORT  address to serve on
  --api-socket FILE   serve on this Unix socket as well
  --api-token-file FILE
                      /api/v1/* on other addresses than loopback takes this bearer token; without one it is refused there
  --state DIR         folder for what survives a restart: when \`for\` ends (default ${DEFAULT_STATE})
  --kubernetes MODE   names of Pods by the Kubernetes API: auto (in a Pod with a service account), on, off (default auto);
                      $NODE_NAME is the name of this node (default: the host's), $KUBECONFIG a kubeconfig
  --configmap NAMESPACE/NAME[/KEY]
                      configuration from a ConfigMap, through the API (default key netsonde.yaml)
Options of events:
  --url URL           the agent (default http://127.0.0.1:${DEFAULT_LISTEN.port})
  --follow, -f        show those that come, not those that were
  --since TIME        those since a duration (10m) or a time; with --follow: and those that come
  --probe NAME,…      of these probes
  --type NAME,…       of these types
  --pod POD           of this Pod: NAMESPACE/NAME, or NAME
  -o json|text        how (default text)
  --token-file FILE   has the bearer token, where the agent is on another machine
Options of check:
  --strict            fail as well where a probe is unsupported or degraded
  --json              print what was found as JSON
Options of convert:
  FILE                KubeSkoop's config.yaml, or a manifest with its ConfigMap; - is standard input
  --strict            fail as well where something was left out
  -o yaml|configmap   print the configuration, or a ConfigMap with it (default yaml)

  -h, --help          this text
  --version           the version
`;

const PATH_OPTIONS = {
  config: { type: 'string' },
  proc: { type: 'string' },
  sys: { type: 'string' },
  cgroup: { type: 'string' },
  netns: { type: 'string' },
  'node-label': { type: 'string', multiple: true },
} as const;

const COMMON_OPTIONS = { help: { type: 'boolean', short: 'h' }, version: { type: 'boolean' } } as const;

/** What is in every mount of the file system, by which a wrong folder is told. */
const MARKS: Partial<Record<keyof Paths, string>> = { proc: 'self', sys: 'devices/system/cpu' };

/** @throws for a folder that was asked for and is not there, or is not what it is to be */
function pathsOf(given: Partial<Paths>): Paths {
  const paths = { ...DEFAULT_PATHS };
  for (const name of Object.keys(DEFAULT_PATHS) as (keyof Paths)[]) {
    const path = given[name];
    if (path === undefined) continue;
    if (!existsSync(path)) throw new Error(`--${name} ${path}: there is no such folder`);
    const mark = MARKS[name];
    if (mark !== undefined && !existsSync(join(path, mark))) {
      throw new Error(
        `--${name} ${path}: no ${name}fs is mounted there (it has no ${mark}); give the host's ${DEFAULT_PATHS[name]}`,
      );
    }
    paths[name] = path;
  }
  return paths;
}

/** @throws for one that is no label */
function nodeLabelsOf(given: readonly string[] = []): Labels {
  return Object.fromEntries(
    given.map((text) => {
      const [, key, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
      if (key === undefined || value === undefined || !isLabel(key, value)) {
        throw new Error(`--node-label ${text}: give KEY=VALUE, like topology.kubernetes.io/zone=a`);
      }
      return [key, value];
    }),
  );
}

function parseMode(text = 'auto'): Mode {
  const mode = MODES.find((candidate) => candidate === text);
  if (mode === undefined) throw new Error(`--kubernetes ${text}: is not one of ${MODES.join(', ')}`);
  return mode;
}

async function runServe(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...PATH_OPTIONS,
      ...COMMON_OPTIONS,
      listen: { type: 'string' },
      'api-socket': { type: 'string' },
      'api-token-file': { type: 'string' },
      state: { type: 'string', default: DEFAULT_STATE },
      kubernetes: { type: 'string' },
      configmap: { type: 'string' },
    },
  });
  const listen: ListenAddress = values.listen === undefined ? DEFAULT_LISTEN : parseListenAddress(values.listen);
  const configMap = values.configmap === undefined ? undefined : parseConfigMapRef(values.configmap);
  const kubernetes = usesKubernetes(parseMode(values.kubernetes), process.env);
  if (configMap !== undefined && values.config !== undefined) throw new Error('give --config or --configmap, not both');
  if (configMap !== undefined && !kubernetes) throw new Error('--configmap needs the API: give --kubernetes on');
  const log = createLog('info');
  const stopped = new Promise<string>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => resolve(signal));
  });
  const agent = await Agent.start({
    configFile: values.config,
    configMap,
    kubernetes,
    node: process.env['NODE_NAME'] || hostname(),
    listen,
    apiSocket: values['api-socket'],
    apiTokenFile: values['api-token-file'],
    paths: pathsOf(values),
    state: values.state,
    nodeLabels: nodeLabelsOf(values['node-label']),
    log,
  });
  log.info(`netsonde ${readVersion()} serves on ${agent.address}`);
  log.info(`${await stopped}: the agent ends`);
  await agent[Symbol.asyncDispose]();
  if (agent.isStuck) {
    log.error('a kernel thread hangs: the agent ends itself by SIGKILL');
    process.kill(process.pid, 'SIGKILL');
  }
  return 0;
}

async function runCheck(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: { ...PATH_OPTIONS, ...COMMON_OPTIONS, strict: { type: 'boolean' }, json: { type: 'boolean' } },
  });
  const { text, exitCode } = await check({
    configFile: values.config,
    paths: pathsOf(values),
    nodeLabels: nodeLabelsOf(values['node-label']),
    strict: values.strict === true,
    json: values.json === true,
  });
  process.stdout.write(`${text}\n`);
  return exitCode;
}

async function runEvents(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...COMMON_OPTIONS,
      url: { type: 'string', default: `http://127.0.0.1:${DEFAULT_LISTEN.port}` },
      follow: { type: 'boolean', short: 'f', default: false },
      since: { type: 'string' },
      probe: { type: 'string', multiple: true },
      type: { type: 'string', multiple: true },
      pod: { type: 'string' },
      output: { type: 'string', short: 'o', default: 'text' },
      'token-file': { type: 'string' },
    },
  });
  const { url, follow, since, pod, output } = values;
  if (output !== 'json' && output !== 'text') throw new Error(`-o ${output}: give json or text`);
  const stopped = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => stopped.abort());
  // Who reads may have seen enough: `netsonde events --follow | head`.
  process.stdout.on('error', () => stopped.abort());
  await showEvents(
    {
      url,
      follow,
      since,
      pod,
      output,
      tokenFile: values['token-file'],
      probe: values.probe?.join(),
      type: values.type?.join(),
    },
    (text) => void process.stdout.write(text),
    stopped.signal,
  );
  return 0;
}

function runProbes(args: readonly string[]): number {
  parseArgs({ args: [...args], options: COMMON_OPTIONS });
  process.stdout.write(`${listProbes()}\n`);
  return 0;
}

async function runConvert(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      ...COMMON_OPTIONS,
      strict: { type: 'boolean', default: false },
      output: { type: 'string', short: 'o', default: 'yaml' },
    },
  });
  const { strict, output } = values;
  const [file, ...more] = positionals;
  if (file === undefined || more.length > 0)
    throw new Error("convert: give one file, KubeSkoop's configuration; - is standard input");
  if (output !== 'yaml' && output !== 'configmap') throw new Error(`-o ${output}: give yaml or configmap`);
  const { text, warnings, leftOut } = await convertFile(file, output);
  process.stdout.write(text);
  for (const warning of warnings) process.stderr.write(`netsonde: warning: ${warning}\n`);
  return strict && leftOut > 0 ? 1 : 0;
}

async function run(argv: readonly string[]): Promise<number> {
  const [command, ...args] = argv;
  if (argv.includes('--help') || argv.includes('-h')) {
    process.stdout.write(USAGE);
    return 0;
  }
  switch (command) {
    case 'serve':
      return runServe(args);
    case 'check':
      return runCheck(args);
    case 'events':
      return runEvents(args);
    case 'probes':
      return runProbes(args);
    case 'convert':
      return runConvert(args);
    case 'idle':
      return idle();
    case '--version':
      process.stdout.write(`${readVersion()}\n`);
      return 0;
    default:
      process.stderr.write(command === undefined ? USAGE : `netsonde: no such command: ${command}\n\n${USAGE}`);
      return 2;
  }
}

/** One clear line for what an operator can mend; a stack for what is our fault. */
function explain(error: unknown): string {
  const { code, message, stack } = error as NodeJS.ErrnoException;
  if (error instanceof ConfigError) return `the configuration is faulty:\n${message}`;
  return code !== undefined || !(error instanceof TypeError) ? message : String(stack);
}

try {
  process.exitCode = await run(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`netsonde: ${explain(error)}\n`);
  process.exitCode = 1;
}
/**
 * Nothing is left by now, and the process ends by itself. What still runs must not keep it, but process.exit() is the last
 * resort: it may wait for ever for a thread that compiles and itself waits for the collector of this one (Node.js 24).
 */
const LAST_RESORT_MS = 2_000;
setTimeout(() => process.exit(), LAST_RESORT_MS).unref();
