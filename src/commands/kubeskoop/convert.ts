import { podLabelsSchema } from '#config/pod_labels.ts';
import { rightsFor } from '#core/rights.ts';
import { DEFAULT_LISTEN } from '#http/listen_address.ts';
import type { AnyProbe } from '#probe/contract.ts';
import { PROBES } from '#probes/index.ts';
import type { Given, KubeskoopConfig, Named } from './config.ts';
import type { Conversion, Section } from './conversion.ts';
import { FIELDS } from './fields.ts';
import { Notes } from './notes.ts';
import { BUCKETS, counterpartOf, DEFAULTS, OTHER_EVENTS, optionFor } from './probes.ts';
import { convertSinks } from './sinks.ts';

type Options = Readonly<Record<string, unknown>>;

/**
 * Converts a KubeSkoop configuration.
 * @param namespace Kubernetes namespace that KubeSkoop runs in, if known
 */
export function convert(config: KubeskoopConfig, namespace?: string): Conversion {
  const notes = new Notes();
  const probes = convertProbes(config, notes);
  const isAsked = ({ name }: AnyProbe) => probes.some((section) => section.name === name);
  const notAsked = PROBES.filter((probe) => probe.enabledByDefault && !isAsked(probe));
  const conversion = {
    probes,
    notAsked: notAsked.map(({ name }) => name),
    sinks: convertSinks(config.sinks, namespace, notes),
    labels: convertLabels(config.labels, notes),
    debug: config.debug?.value === true ? config.debug : undefined,
    notes,
  };
  for (const given of config.rest) {
    const text = whyNot(given);
    if (text !== undefined) notes.leaveOut(given, text);
  }
  leaveOutUnknown(config.unknown, notes);
  return conversion;
}

/** Maximum number of unknown keys that are reported individually, because finding the line of each key takes time. */
const UNKNOWN_MAX = 100;

function leaveOutUnknown(unknown: readonly Given<unknown>[], notes: Notes): void {
  for (const given of unknown.slice(0, UNKNOWN_MAX))
    notes.leaveOut(given, 'KubeSkoop does not know this key and ignores it');
  const more = unknown.length - UNKNOWN_MAX;
  if (more > 0) notes.leaveOut({ path: [], value: undefined }, `${more} more keys that KubeSkoop does not know`);
}

function hasEvents({ events }: AnyProbe): boolean {
  return Object.keys(events).length > 0;
}

/** Entries of a KubeSkoop configuration that concern the same probe. */
interface Asked {
  readonly probe: AnyProbe;
  metrics?: Given<Named>;
  events?: Given<Named>;
}

function convertProbes({ metricProbes, eventProbes }: KubeskoopConfig, notes: Notes): Section[] {
  const asked = new Map<string, Asked>();
  const halves = [
    ...metricProbes.map((given) => ['metrics', given] as const),
    ...eventProbes.map((given) => ['events', given] as const),
  ];
  for (const [half, given] of halves) {
    const name = { path: given.path, value: given.value.name };
    const probe = counterpartOf(name.value);
    if (typeof probe === 'string') notes.leaveOut(name, probe);
    else if (half === 'events' && !hasEvents(probe)) notes.leaveOut(name, `the probe ${probe.name} has metrics only`);
    else {
      const entry: Asked = asked.get(probe.name) ?? { probe };
      if (entry[half] !== undefined) notes.tell(name, 'duplicate probe; this entry is used');
      asked.set(probe.name, { ...entry, [half]: given });
    }
  }
  return [...asked.values()].map((entry) => convertProbe(entry, notes));
}

/** Converts a probe. The probe is enabled even if it is disabled by default in netsonde, because the file lists it. */
function convertProbe({ probe, metrics, events }: Asked, notes: Notes): Section {
  const { name, cost, enabledByDefault, requires } = probe;
  const given = [metrics, events].filter((half) => half !== undefined);
  const lacking = capabilitiesText(requires.capabilities);
  const [first] = given;
  if (first !== undefined && lacking !== undefined) notes.tell({ path: first.path, value: first.value.name }, lacking);
  const other = OTHER_EVENTS.get(name);
  if (events !== undefined && other !== undefined) notes.tell({ path: events.path, value: events.value.name }, other);
  return {
    name,
    options: {
      ...(enabledByDefault ? {} : { enabled: true }),
      ...(metrics === undefined ? { metrics: false } : shownOf(name)),
      ...(events !== undefined || !hasEvents(probe) ? {} : { events: false }),
      ...DEFAULTS[name],
      ...given.map((half) => optionsOf(half, probe, notes)).reduce(mergeOptions, {}),
    },
    from: given.map(({ path }) => path),
    remark: cost === 'high' ? 'this probe is expensive; add `for: 15m` to stop it automatically' : undefined,
  };
}

/** Returns options that limit the metrics of a probe to those that KubeSkoop has. */
function shownOf(probe: string): Options {
  const fields = FIELDS[probe];
  const buckets = BUCKETS[probe];
  return { ...(fields === undefined ? {} : { fields }), ...(buckets === undefined ? {} : { buckets }) };
}

/**
 * Returns a warning if the probe needs more capabilities than manifests/base grants, otherwise undefined. BPF probes
 * need no further capabilities.
 */
function capabilitiesText(capabilities: readonly string[]): string | undefined {
  if (capabilities.length === 0 || capabilities.includes('CAP_BPF')) return undefined;
  const components = rightsFor(capabilities)?.map((name) => `manifests/components/${name}`) ?? [];
  return `this probe needs ${capabilities.join(' and ')}, which ${components.join(' and ')} grants and manifests/base does not (docs/capabilities.md)`;
}

function optionsOf({ path, value: { args } }: Given<Named>, { name, options }: AnyProbe, notes: Notes): Options {
  const converted: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(args)) {
    const place = [...path, 'args', key];
    const option = optionFor(name, key);
    if (option === undefined) {
      notes.leaveOut({ path: place, value }, `the probe ${name} has no such option`);
      continue;
    }
    const isGood = (candidate: unknown) => options[option].safeParse(candidate).success;
    // Unknown items of a list are ignored, as in KubeSkoop.
    const [good, bad] = Array.isArray(value)
      ? [value.filter((item) => isGood([item])), value.filter((item) => !isGood([item]))]
      : [value, []];
    if (isGood(good)) converted[option] = good;
    if (!isGood(good) || bad.length > 0) {
      notes.leaveOut(
        { path: place, value: isGood(good) ? bad : value },
        `the option ${option} of ${name} does not accept it`,
      );
    }
  }
  return converted;
}

/**
 * Merges the arguments for metrics and the arguments for events, which KubeSkoop keeps separate. Lists are concatenated
 * without duplicates.
 */
function mergeOptions(first: Options, second: Options): Options {
  const merged = Object.entries(second).map(([key, value]) => {
    const before = first[key];
    return [key, Array.isArray(before) && Array.isArray(value) ? [...new Set([...before, ...value])] : value];
  });
  return { ...first, ...Object.fromEntries(merged) };
}

const OF_A_LABEL = /^\$\{labels:([^}]*)\}$/;

function convertLabels(labels: readonly Given<string>[], notes: Notes): Conversion['labels'] {
  const schema = podLabelsSchema(PROBES);
  const converted = new Map<string, Conversion['labels'][number]>();
  for (const given of labels) {
    const [name = '', template = ''] = given.value.split('=').map((part) => part.trim());
    const key = OF_A_LABEL.exec(template)?.[1];
    if (key === undefined) {
      notes.leaveOut(
        given,
        'a label here can only have the value of one label of the Pod; add others in Prometheus (metric_relabel_configs)',
      );
      continue;
    }
    const before = [...converted.values()].map((label) => [label.name, label.value] as const);
    const fault = schema.safeParse(Object.fromEntries([...before, [name, key]])).error?.issues[0];
    if (fault === undefined) converted.set(name, { name, value: key, path: given.path });
    else notes.leaveOut(given, `netsonde requires ${fault.message}`);
  }
  return [...converted.values()];
}

const NO_CONTROLLER =
  'netsonde has no controller, so there is no diagnosis, packet capture, latency detection or web console; `peers` names both ends of events (docs/kubernetes.md)';

const NOT_HERE = 'the listen address is not part of the configuration';

/** Returns why a setting that belongs to neither a probe nor a sink is left out; undefined if nothing is lost. */
function whyNot({ path, value }: Given<unknown>): string | undefined {
  switch (path.join('.')) {
    case 'port':
    case 'metric_config.port':
      return value === DEFAULT_LISTEN.port ? undefined : listenText('', String(value));
    case 'address':
      return addressText(String(value));
    case 'enableController':
      return value === true ? NO_CONTROLLER : undefined;
    case 'controllerAddr':
      return NO_CONTROLLER;
    case 'metric_config.interval':
      return 'metrics are not cached; each scrape collects them';
    case 'metric_config.verbose':
      return value === true ? 'list the labels of Pods in `labels`, each with a name' : undefined;
    case 'event_config.port':
      return 'there is no gRPC server; events are on /api/v1/events, and `netsonde events` shows them';
    default:
      return undefined;
  }
}

function listenText(host: string, port: string): string {
  return `${NOT_HERE}; use \`netsonde serve --listen ${host}:${port}\`, or listen.port of the chart`;
}

function addressText(address: string): string | undefined {
  const [, host = '', port = ''] = /^tcp:\/\/([\w.:[\]-]*):(\d{1,5})$/.exec(address) ?? [];
  if (['', '0.0.0.0'].includes(host) && Number(port) === DEFAULT_LISTEN.port) return undefined;
  return port === ''
    ? `${NOT_HERE}; use \`netsonde serve --listen HOST:PORT --api-socket FILE\``
    : listenText(host, port);
}
