import { hostname } from 'node:os';
import { Agent } from '#agent/agent.ts';
import { createLog } from '#agent/log.ts';
import { parseConfigMapRef } from '#config/configmap.ts';
import { readVersion } from '#core/assets.ts';
import { DEFAULT_LISTEN, type ListenAddress, parseListenAddress } from '#http/listen_address.ts';
import { kubernetesUse, MODES, type Mode } from '#kubernetes/mode.ts';
import { probesWith } from './enabled_probes.ts';
import { DEFAULT_STATE, NODE_OPTIONS, nodeLabelsOf, parseOptions, pathsOf } from './options.ts';

/** Runs `netsonde serve` until SIGTERM or SIGINT. */
export async function runServe(args: readonly string[]): Promise<number> {
  const values = parseOptions(args, {
    ...NODE_OPTIONS,
    listen: { type: 'string' },
    'api-socket': { type: 'string' },
    'api-token-file': { type: 'string' },
    'api-socket-only': { type: 'boolean', default: false },
    'web.config.file': { type: 'string' },
    'health-listen': { type: 'string' },
    state: { type: 'string', default: DEFAULT_STATE },
    kubernetes: { type: 'string' },
    configmap: { type: 'string' },
  });
  const listen: ListenAddress = values.listen === undefined ? DEFAULT_LISTEN : parseListenAddress(values.listen);
  const health = values['health-listen'];
  const configMap = values.configmap === undefined ? undefined : parseConfigMapRef(values.configmap);
  const kubernetes = kubernetesUse(parseMode(values.kubernetes), process.env);
  if (configMap !== undefined && values.config !== undefined) throw new Error('give --config or --configmap, not both');
  if (configMap !== undefined && !kubernetes.asked) throw new Error('--configmap needs the API; add --kubernetes on');
  const log = createLog('info');
  const stop = new AbortController();
  const stopped = new Promise<string>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT']) {
      process.once(signal, () => {
        resolve(signal);
        stop.abort(new Error(signal));
      });
    }
  });
  const starting = Agent.start({
    configFile: values.config,
    configMap,
    kubernetes,
    node: process.env['NODE_NAME'] || hostname(),
    listen,
    apiSocket: values['api-socket'],
    apiTokenFile: values['api-token-file'],
    apiSocketOnly: values['api-socket-only'],
    webConfigFile: values['web.config.file'],
    healthListen: health === undefined ? undefined : parseListenAddress(health, '--health-listen'),
    paths: pathsOf(values),
    state: values.state,
    nodeLabels: nodeLabelsOf(values['node-label']),
    probes: probesWith(values.enable),
    stop: stop.signal,
    log,
  });
  const agent = await starting.catch((error: Error) => {
    if (!stop.signal.aborted) throw error;
  });
  if (agent !== undefined) log.info(`netsonde ${readVersion()} serves on ${agent.address}`);
  log.info(`${await stopped}: the agent is shutting down`);
  await agent?.[Symbol.asyncDispose]();
  return 0;
}

function parseMode(text = 'auto'): Mode {
  const mode = MODES.find((candidate) => candidate === text);
  if (mode === undefined) throw new Error(`--kubernetes ${text}: must be one of ${MODES.join(', ')}`);
  return mode;
}
