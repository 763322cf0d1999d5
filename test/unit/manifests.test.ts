import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type * as z from 'zod';
import { ConfigReader } from '#config/load.ts';
import { configSchema } from '#config/schema.ts';
import { PROBES } from '#probes/index.ts';
import { ChartRenderer } from '../support/chart.ts';
import { keysIn, misspelt, typeFaults } from '../support/kubernetes_types.ts';
import { type KubernetesObject, kustomize } from '../support/kustomize.ts';
import { lacks } from '../support/programs.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const BASE = join(PROJECT, 'manifests/base');
const CHART = join(PROJECT, 'manifests/chart');
const COMPONENTS = join(PROJECT, 'manifests/components');

const base = kustomize(BASE);

function component(name: string): string {
  return join(COMPONENTS, name);
}

/** Chart values that correspond to each component. */
const VARIANTS: Readonly<Record<string, unknown>> = {
  packets: { packets: true },
  processes: { processes: true },
  tools: { tools: true },
  'api-token': { apiTokenSecret: 'netsonde-api-token' },
  'configmap-api': { configSource: 'api' },
  policies: { policies: true },
  'web-config': {
    web: { configSecret: 'netsonde-web' },
    podMonitor: { tlsConfig: { ca: { secret: { name: 'netsonde-web', key: 'ca.crt' } }, serverName: 'netsonde' } },
  },
  'own-configmap': { ownConfigMap: true },
  seccomp: { seccompProfile: { type: 'Localhost', localhostProfile: 'netsonde.json' } },
  'no-podmonitor': { podMonitor: { enabled: false } },
};

function idOf({ kind, metadata }: KubernetesObject): string {
  return `${kind} ${metadata.namespace ?? ''}/${metadata.name}`;
}

function byId(objects: readonly KubernetesObject[]): Record<string, KubernetesObject> {
  const ids = objects.map((object) => [idOf(object), object] as const);
  expect(new Set(ids.map(([id]) => id)).size).toBe(ids.length);
  return Object.fromEntries(ids);
}

function find<T>(objects: readonly KubernetesObject[], kind: string): T {
  const found = objects.filter((object) => object.kind === kind);
  expect(found).toHaveLength(1);
  return found[0] as T;
}

describe('the kustomize base', () => {
  it('has all objects, each once', () => {
    const ids = Object.keys(byId(base)).sort();
    expect(ids).toEqual([
      'ClusterRole /netsonde',
      'ClusterRoleBinding /netsonde',
      'ConfigMap netsonde/netsonde',
      'DaemonSet netsonde/netsonde',
      'Namespace /netsonde',
      'NetworkPolicy netsonde/netsonde',
      'PodMonitor netsonde/netsonde',
      'ServiceAccount netsonde/netsonde',
    ]);
    const files = readdirSync(BASE).filter((file) => file !== 'kustomization.yaml');
    const { resources } = parse(readFileSync(join(BASE, 'kustomization.yaml'), 'utf8')) as { resources: string[] };
    expect([...resources].sort()).toEqual(files.sort());
  });

  it('has the fields of Kubernetes, of the right types, with each component', () => {
    expect(readdirSync(COMPONENTS).sort()).toEqual(Object.keys(VARIANTS).sort());
    for (const name of ['', ...Object.keys(VARIANTS)]) {
      const objects = kustomize(BASE, name === '' ? [] : [component(name)]);
      expect(
        objects.flatMap((object) => typeFaults(object).map((fault) => `${name} ${idOf(object)} ${fault}`)),
      ).toEqual([]);
    }
  });

  it.each(base.map((object) => [object.kind, object] as const))('no key of the %s can be misspelt', (_kind, object) => {
    for (const path of keysIn(object)) expect(typeFaults(misspelt(object, path)), path.join('.')).not.toEqual([]);
  });

  it.each([
    ['a text for a number', 'terminationGracePeriodSeconds', '15'],
    ['a number for a text', 'priorityClassName', 15],
    ['a text for a switch', 'hostPID', 'true'],
    ['an object for a list', 'tolerations', { operator: 'Exists' }],
    ['a list for an object', 'nodeSelector', ['linux']],
  ])('%s is refused', (_what, key, value) => {
    const object = structuredClone(find<{ spec: { template: { spec: Record<string, unknown> } } }>(base, 'DaemonSet'));
    expect(typeFaults(object as unknown as KubernetesObject)).toEqual([]);
    object.spec.template.spec[key] = value;
    expect(typeFaults(object as unknown as KubernetesObject)).toHaveLength(1);
  });
});

interface Container {
  readonly image: string;
  readonly args: readonly string[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number; readonly hostPort: number }[];
  readonly livenessProbe: { readonly httpGet: { readonly path: string; readonly port: string } };
  readonly readinessProbe: { readonly httpGet: { readonly path: string; readonly port: string } };
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string; readonly subPath?: string }[];
}

interface DaemonSet extends KubernetesObject {
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly template: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> };
      readonly spec: {
        readonly serviceAccountName: string;
        readonly containers: readonly [Container];
        readonly volumes: readonly { readonly name: string; readonly configMap?: { readonly name: string } }[];
      };
    };
  };
}

/** Returns the verbs that a component may grant for a resource. */
function verbsOf(variant: string, resource: string | undefined): readonly string[] {
  if (resource === 'events') return ['create'];
  if (variant === 'policies' && resource === 'namespaces') return ['get'];
  return variant === 'policies' && resource?.endsWith('policies') === true ? ['list'] : ['list', 'watch'];
}

describe('related values', () => {
  const daemonSet = find<DaemonSet>(base, 'DaemonSet');
  const { template, selector } = daemonSet.spec;
  const [container] = template.spec.containers;

  it('the version of the image is that of the agent, in the base and in the chart', () => {
    const { version } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8')) as { version: string };
    expect(container.image).toBe(`netsonde:${version}`);
    const withTools = find<DaemonSet>(kustomize(BASE, [component('tools')]), 'DaemonSet').spec.template.spec.containers;
    expect(withTools.map(({ image }) => image)).toEqual([container.image, container.image]);
    const chart = parse(readFileSync(join(CHART, 'Chart.yaml'), 'utf8'));
    expect(chart).toMatchObject({ version, appVersion: version });
  });

  it('all selectors select these Pods', () => {
    const labels = template.metadata.labels;
    expect(labels).toMatchObject(selector.matchLabels);
    expect(find<{ spec: { podSelector: unknown } }>(base, 'NetworkPolicy').spec.podSelector).toEqual(selector);
    expect(find<{ spec: { selector: unknown } }>(base, 'PodMonitor').spec.selector).toEqual(selector);
  });

  it.each(['', ...Object.keys(VARIANTS)])('all mounts have volumes, and all volumes are mounted: %s', (name) => {
    const { spec } = find<DaemonSet>(kustomize(BASE, name === '' ? [] : [component(name)]), 'DaemonSet').spec.template;
    const mounts = spec.containers[0].volumeMounts;
    expect(mounts.map((mount) => mount.name)).toEqual(spec.volumes.map((volume) => volume.name));
    expect(mounts.filter(({ subPath }) => subPath !== undefined)).toEqual([]);
    for (const argument of spec.containers[0].args) {
      const path = /=(\/.*)\/[^/]+$/.exec(argument)?.[1];
      if (path !== undefined) expect(mounts.map(({ mountPath }) => mountPath)).toContain(path);
    }
  });

  it('the agent knows the arguments of the base and of each component', () => {
    const help = execFileSync(join(PROJECT, 'bin/netsonde'), ['--help'], { encoding: 'utf8' });
    for (const components of [[], ...readdirSync(COMPONENTS).map((name) => [component(name)])]) {
      const daemonSet = find<DaemonSet>(kustomize(BASE, components), 'DaemonSet');
      const [command, ...flags] = daemonSet.spec.template.spec.containers[0].args;
      expect(command).toBe('serve');
      for (const flag of flags) expect(help).toContain(`  ${flag.split('=')[0]} `);
    }
  });

  it('the port is the same everywhere', () => {
    const [port] = container.ports;
    expect(port?.hostPort).toBe(port?.containerPort);
    expect(container.args).toContain(`--listen=:${port?.containerPort}`);
    expect([container.livenessProbe.httpGet, container.readinessProbe.httpGet]).toEqual([
      { path: '/healthz', port: port?.name },
      { path: '/readyz', port: port?.name },
    ]);
  });

  it('the configuration is the ConfigMap that the agent may read, and no other variant may read one', () => {
    const { name } = find<KubernetesObject>(base, 'ConfigMap').metadata;
    expect(template.spec.volumes.find((volume) => volume.name === 'config')?.configMap?.name).toBe(name);
    expect(base.map(({ kind }) => kind)).not.toContain('Role');
    const watching = kustomize(BASE, [component('configmap-api')]);
    type Role = { rules: { resources: string[]; resourceNames?: string[] }[] };
    const { rules } = find<Role>(watching, 'Role');
    expect(rules.find(({ resources }) => resources.includes('configmaps'))?.resourceNames).toEqual([name]);
    // The argument uses the Pod's namespace, so it stays correct if an overlay changes the namespace.
    const [{ args }] = find<DaemonSet>(watching, 'DaemonSet').spec.template.spec.containers;
    expect(args).toContain(`--configmap=$(POD_NAMESPACE)/${name}`);
  });

  it('no role grants more than is used: get only for policies, no Secret, and no write except of events', () => {
    for (const variant of ['', ...Object.keys(VARIANTS)]) {
      const objects = kustomize(BASE, variant === '' ? [] : [component(variant)]);
      for (const { kind, rules = [] } of objects as unknown as { kind: string; rules?: Record<string, string[]>[] }[]) {
        for (const { resources = [], verbs = [], apiGroups = [] } of rules) {
          expect([...resources, ...apiGroups, ...verbs]).not.toContain('*');
          expect(resources).not.toContain('secrets');
          expect(verbs, kind).toEqual(verbsOf(variant, resources[0]));
        }
      }
    }
  });
});

describe('the configuration', () => {
  const text = find<{ data: Record<string, string> }>(base, 'ConfigMap').data['netsonde.yaml'] ?? '';
  const reader = new ConfigReader(PROBES);
  const [head = '', tail = ''] = text.split(/^(?=detail:)/m);
  const whole = head + tail.replace(/^# /gm, '');

  it('equals the defaults, unchanged and with every comment removed', () => {
    expect(reader.parse(text)).toEqual(reader.defaults);
    expect(reader.parse(whole)).toEqual(reader.defaults);
  });

  it('has every option', () => {
    const shown = parse(whole) as { probes: Record<string, Record<string, unknown>> };
    const schema = configSchema(PROBES) as unknown as z.ZodObject;
    expect(Object.keys(shown)).toEqual(expect.arrayContaining(['detail', 'probes', 'sinks', 'log']));
    for (const key of Object.keys(schema.shape)) expect(whole).toMatch(new RegExp(`^(# )?${key}:`, 'm'));
    const shared = [...text.matchAll(/^# {3}# - (\w+): /gm)].map(([, key]) => key);
    expect(shared).toEqual(expect.arrayContaining(['enabled', 'metrics', 'detail', 'events', 'limit']));
    // An option without a default appears as a comment in the section.
    const optional = [...text.matchAll(/^#\s+# (\w+): …$/gm)].map(([, key]) => key);
    for (const { name, options } of PROBES) {
      for (const key of Object.keys(options))
        expect([...Object.keys(shown.probes[name] ?? {}), ...shared, ...optional]).toContain(key);
    }
  });

  it('accepts one option with its sections, and names a wrong one', () => {
    const switched = text
      .replace('# probes:', 'probes:')
      .replace('#   fd:\n#     enabled: false', '  fd:\n    enabled: true');
    expect(reader.parse(switched).probes['fd']?.enabled).toBe(true);
    expect(reader.parse(switched).probes['io']).toEqual(reader.defaults.probes['io']);
    const wrong = text
      .replace('# probes:', 'probes:')
      .replace('#   fd:\n#     enabled: false', '  fd:\n    enabled: maybe');
    expect(() => reader.parse(wrong)).toThrow(/^probes\.fd\.enabled: "maybe" is not allowed/);
  });
});

describe.skipIf(lacks('go'))('the chart', () => {
  let renderer: ChartRenderer;
  beforeAll(() => {
    renderer = new ChartRenderer();
  });
  afterAll(() => renderer[Symbol.dispose]());

  /** Removes the Namespace object, because the chart has none: Helm creates the namespace itself with --create-namespace. */
  const withoutNamespace = (objects: readonly KubernetesObject[]) =>
    byId(objects.filter(({ kind }) => kind !== 'Namespace'));

  it('renders the same objects as the base', () => {
    expect(byId(renderer.render(CHART))).toEqual(withoutNamespace(base));
  });

  it.each(Object.entries(VARIANTS))('renders the component %s', (name, values) => {
    const variant = withoutNamespace(kustomize(BASE, [component(name)]));
    expect(variant).not.toEqual(withoutNamespace(base));
    expect(byId(renderer.render(CHART, values))).toEqual(variant);
  });

  it('takes every value, and the result has only fields of Kubernetes', () => {
    const config = { detail: 'full', probes: { packetloss: { stack: true } } };
    const objects = renderer.render(
      CHART,
      {
        image: { repository: 'registry.example/netsonde', tag: '9.9.9', pullPolicy: 'Always' },
        imagePullSecrets: [{ name: 'registry' }],
        config,
        listen: { host: '[::]', port: 9999 },
        extraCapabilities: ['SYS_RESOURCE'],
        stateDirectory: '/srv/netsonde',
        resources: { limits: null, requests: { cpu: '1' } },
        priorityClassName: '',
        nodeSelector: { pool: 'edge' },
        tolerations: [{ key: 'edge', effect: 'NoSchedule' }],
        affinity: { podAffinity: {} },
        maxUnavailable: 3,
        web: { configSecret: 'own-web', healthPort: 9998 },
        podMonitor: {
          labels: { release: 'prometheus' },
          interval: '30s',
          tlsConfig: {
            cert: { secret: { name: 'scrape', key: 'tls.crt' } },
            keySecret: { name: 'scrape', key: 'tls.key' },
            insecureSkipVerify: true,
          },
          basicAuth: { username: { name: 'scrape', key: 'user' }, password: { name: 'scrape', key: 'password' } },
        },
        networkPolicy: { from: [{ namespaceSelector: { matchLabels: { name: 'monitoring' } } }] },
      },
      'watching',
    );
    expect(objects.flatMap(typeFaults)).toEqual([]);
    expect(new Set(objects.flatMap(({ metadata }) => metadata.namespace ?? []))).toEqual(new Set(['watching']));
    const { spec } = find<DaemonSet>(objects, 'DaemonSet').spec.template;
    expect(spec).toMatchObject({
      imagePullSecrets: [{ name: 'registry' }],
      nodeSelector: { pool: 'edge', 'kubernetes.io/os': 'linux' },
      tolerations: [{ key: 'edge', effect: 'NoSchedule' }],
      affinity: { nodeAffinity: {}, podAffinity: {} },
    });
    expect(spec).not.toHaveProperty('priorityClassName');
    expect(spec.containers[0]).toMatchObject({
      image: 'registry.example/netsonde:9.9.9',
      imagePullPolicy: 'Always',
      args: [
        'serve',
        '--config=/etc/netsonde/netsonde.yaml',
        '--listen=[::]:9999',
        '--web.config.file=/etc/netsonde-web/web.yml',
        '--health-listen=127.0.0.1:9998',
      ],
      livenessProbe: { httpGet: { path: '/healthz', host: '127.0.0.1', port: 9998 } },
      ports: [{ name: 'metrics', containerPort: 9999, hostPort: 9999, protocol: 'TCP' }],
      resources: { requests: { cpu: '1', memory: '160Mi' } },
      securityContext: { capabilities: { drop: ['ALL'], add: ['BPF', 'PERFMON', 'SYS_RESOURCE'] } },
    });
    const { data } = find<{ data: Record<string, string> }>(objects, 'ConfigMap');
    expect(parse(data['netsonde.yaml'] ?? '')).toEqual(config);
    expect(find<KubernetesObject>(objects, 'PodMonitor').metadata).toMatchObject({ labels: { release: 'prometheus' } });
    const names = (values: unknown) => renderer.render(CHART, values).map(({ kind }) => kind);
    expect(names({ networkPolicy: { enabled: false } })).not.toContain('NetworkPolicy');
  });
});
