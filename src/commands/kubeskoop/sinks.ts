import { isIP } from 'node:net';
import type { Given, Named } from './config.ts';
import type { Section } from './conversion.ts';
import type { Notes } from './notes.ts';

/** Port that KubeSkoop adds to the address of Loki. */
const LOKI_PORT = 3100;

const MOUNT =
  "the root file system of the agent's Pod is read-only; mount a directory of the node there, as manifests/base does with /var/lib/netsonde";
const LOKI_VERSION =
  'structuredMetadata is false, which every version of Loki accepts (KubeSkoop comes with 2.7); delete it for Loki 3.0 and later, because the dashboards and the runbook use the metadata';
const SERVICE =
  'the name of a Service is resolved in the namespace of netsonde; append the namespace of Loki, as in loki.kubeskoop';

interface Sink {
  readonly name: string;
  readonly options: Section['options'];
  /** The only argument that KubeSkoop's sink accepts. */
  readonly arg?: string;
  readonly remark?: string;
  readonly tell?: readonly string[];
}

/**
 * Converts the sinks of a KubeSkoop configuration.
 * @param namespace Kubernetes namespace that KubeSkoop runs in, if known
 */
export function convertSinks(given: readonly Given<Named>[], namespace: string | undefined, notes: Notes): Section[] {
  const sections = new Map<string, Section>();
  for (const asked of given) {
    const { path, value } = asked;
    const sink = convertSink(value, namespace);
    if (typeof sink === 'string') {
      notes.leaveOut(asked, sink);
      continue;
    }
    const { name, options, arg, remark, tell = [] } = sink;
    if (sections.has(name)) {
      notes.leaveOut(asked, `there can be only one sink ${name}`);
      continue;
    }
    sections.set(name, { name, options, from: [path], remark });
    for (const text of tell) notes.tell(asked, text);
    for (const [key, unknown] of Object.entries(value.args).filter(([key]) => key !== arg)) {
      notes.leaveOut({ path: [...path, 'args', key], value: unknown }, `KubeSkoop's sink ${value.name} ignores it`);
    }
  }
  return [...sections.values()];
}

/** Returns the counterpart of a KubeSkoop sink, or the reason why there is none. */
function convertSink({ name, args }: Named, namespace: string | undefined): Sink | string {
  switch (name) {
    case 'stderr':
      return { name: 'stdout', options: {}, remark: 'JSON lines; the log goes to standard error' };
    case 'file': {
      const { path } = args;
      if (typeof path !== 'string' || !path.startsWith('/')) return 'its `path` is not absolute';
      return { name, options: { path }, arg: 'path', tell: [MOUNT] };
    }
    case 'loki':
      return lokiSink(args['addr'], namespace);
    default:
      return 'there is no such sink; the sinks are stdout, file, loki and otlp';
  }
}

/**
 * Converts the Loki sink.
 * @param addr IP address or host name, without a port
 */
function lokiSink(addr: unknown, namespace: string | undefined): Sink | string {
  const given = typeof addr === 'string' && /^[\w.:-]+$/.test(addr) ? addr : '';
  const isService = isIP(given) === 0 && !given.includes('.');
  const host = isService && namespace !== undefined ? `${given}.${namespace}` : given;
  const url = `http://${isIP(host) === 6 ? `[${host}]` : host}:${LOKI_PORT}`;
  if (given === '' || !URL.canParse(url)) {
    return 'its `addr` is neither an IP address nor a host name; write `sinks: { loki: { url: … } }` yourself';
  }
  return {
    name: 'loki',
    options: { url, structuredMetadata: false },
    arg: 'addr',
    ...(host === given ? {} : { remark: `${given} is a Service in the namespace ${namespace}` }),
    tell: isService && host === given ? [SERVICE, LOKI_VERSION] : [LOKI_VERSION],
  };
}
