import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import * as z from 'zod';
import { parseListenAddress } from '#http/listen_address.ts';
import { ChartRenderer } from '../support/chart.ts';
import { keysIn, misspelt, typeFaults } from '../support/kubernetes_types.ts';
import type { KubernetesObject } from '../support/kustomize.ts';
import { lacks } from '../support/programs.ts';

const CHART = fileURLToPath(new URL('../../manifests/chart', import.meta.url));

const values = parse(readFileSync(join(CHART, 'values.yaml'), 'utf8')) as Record<string, unknown>;
const schema = JSON.parse(readFileSync(join(CHART, 'values.schema.json'), 'utf8')) as {
  properties: Record<string, unknown>;
};
const validator = z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]);
const isGood = (given: unknown) => validator.safeParse(given).success;

describe('values', () => {
  it('match the schema, key by key', () => {
    expect(isGood(values)).toBe(true);
    // Helm itself defines `global` (values that all charts share) and `enabled` (the condition in a parent chart).
    const own = Object.keys(schema.properties).filter((key) => key !== 'global' && key !== 'enabled');
    expect(own.sort()).toEqual(Object.keys(values).sort());
    expect(isGood({ ...values, global: {}, enabled: true })).toBe(true);
  });

  it('no key can be misspelt', () => {
    for (const path of keysIn(values)) {
      // The chart copies these values unchanged, so its schema does not describe their fields.
      if (['tolerations', 'config', 'affinity'].includes(String(path[0])) && path.length > 1) continue;
      expect(isGood(misspelt(values, path)), path.join('.')).toBe(false);
    }
  });

  it.each([
    [{ listen: { port: 0 } }],
    [{ listen: { port: '9102' } }],
    [{ listen: { host: '127.0.0.1:9102' } }],
    [{ listen: { host: 'http://localhost' } }],
    [{ listen: { host: '[::' } }],
    [{ listen: { host: '[127.0.0.1]' } }],
    [{ extraCapabilities: ['CAP_BPF'] }],
    [{ packets: 'yes' }],
    [{ configSource: 'file' }],
    [{ stateDirectory: 'netsonde' }],
    [{ podMonitor: { enabled: 'yes' } }],
    [{ podMonitor: { interval: '30' } }],
    [{ podMonitor: { tlsConfig: { ca: { secret: { name: 'web' } } } } }],
    [{ podMonitor: { basicAuth: { user: { name: 'a', key: 'b' } } } }],
    [{ web: { healthPort: '9103' } }],
    [{ image: { pullPolicy: 'always' } }],
    [{ image: { tag: 1.1 } }],
    [{ config: 'detail: full' }],
    [{ maxUnavailable: 0 }],
    [{ maxUnavailable: '0%' }],
    [{ maxUnavailable: 'some' }],
    [{ netnsMountPropagation: 'Bidirectional' }],
    [{ secrets: ['Loki'] }],
    [{ secrets: ['a', 'a'] }],
    [{ secrets: ['../a'] }],
    [{ extraEnv: [{ name: 'A', value: 1 }] }],
    [{ extraEnv: [{ value: 'x' }] }],
    [{ extraVolumes: [{ secret: {} }] }],
    [{ extraVolumeMounts: [{ name: 'a', mountPath: 'a' }] }],
    [{ podLabels: { a: 1 } }],
    [{ seccompProfile: { type: 'localhost' } }],
    [{ seccompProfile: { type: 'Localhost', localhostProfile: '/netsonde.json' } }],
  ])('%j is refused', (given) => expect(isGood(given)).toBe(false));
});

interface Probe {
  readonly httpGet: { readonly host?: string; readonly port: string };
}
interface Mount {
  readonly name: string;
  readonly mountPath: string;
  readonly mountPropagation?: string;
}
interface PodTemplate {
  readonly metadata: { readonly labels: Record<string, string>; readonly annotations: Record<string, string> };
  readonly spec: {
    readonly containers: readonly [
      {
        readonly args: readonly string[];
        readonly env: readonly { readonly name: string }[];
        readonly livenessProbe: Probe;
        readonly readinessProbe: Probe;
        readonly volumeMounts: readonly Mount[];
      },
    ];
    readonly volumes: readonly { readonly name: string; readonly secret?: { readonly secretName: string } }[];
  };
}

function templateOf(objects: readonly KubernetesObject[]): PodTemplate {
  const found = objects.flatMap(({ kind, spec }) => (kind === 'DaemonSet' ? [spec as { template: PodTemplate }] : []));
  if (found[0] === undefined) throw new Error('there is no DaemonSet');
  return found[0].template;
}

function idsOf(objects: readonly KubernetesObject[]): string[] {
  return objects.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`);
}

describe.skipIf(lacks('go'))('a rendered value', () => {
  let renderer: ChartRenderer;
  beforeAll(() => {
    renderer = new ChartRenderer();
  });
  afterAll(() => renderer[Symbol.dispose]());

  /** Renders the chart, and rejects unknown fields, wrong types, duplicate keys, and volumes without a mount. */
  function render(given: unknown, namespace?: string, release?: string): KubernetesObject[] {
    expect(isGood(given)).toBe(true);
    const objects = renderer.render(CHART, given, namespace, release);
    expect(objects.flatMap(typeFaults)).toEqual([]);
    const { volumeMounts } = templateOf(objects).spec.containers[0];
    const volumes = templateOf(objects).spec.volumes.map(({ name }) => name);
    expect(volumeMounts.map(({ name }) => name).sort()).toEqual(volumes.sort());
    expect(new Set(volumes).size).toBe(volumes.length);
    return objects;
  }

  /** Without quotes, YAML reads these strings as other types. */
  it.each(['123', 'true', 'null', '1e3', '0x10', 'on', '2026-11-29'])('a text stays a text: %s', (odd) => {
    render(
      {
        image: { repository: odd, tag: odd },
        imagePullSecrets: [{ name: odd }],
        apiTokenSecret: odd,
        web: { configSecret: odd },
        secrets: [odd],
        stateDirectory: `/${odd}`,
        priorityClassName: odd,
        nodeSelector: { [odd]: odd },
        podLabels: { [odd]: odd },
        podAnnotations: { [odd]: odd },
        extraEnv: [{ name: odd, value: odd }],
        podMonitor: { labels: { [odd]: odd } },
        resources: { requests: { cpu: odd }, limits: { memory: odd } },
        configSource: 'api',
        tools: true,
      },
      odd,
      odd,
    );
  });

  it.each([
    ['', ':9102', undefined],
    ['0.0.0.0', '0.0.0.0:9102', undefined],
    ['::', '[::]:9102', undefined],
    ['[::]', '[::]:9102', undefined],
    ['127.0.0.1', '127.0.0.1:9102', '127.0.0.1'],
    ['::1', '[::1]:9102', '::1'],
    ['[::1]', '[::1]:9102', '::1'],
    ['localhost', 'localhost:9102', 'localhost'],
    ['10.0.0.5', '10.0.0.5:9102', '10.0.0.5'],
  ])('listen.host %j works for the agent and for the kubelet', (host, address, probed) => {
    const [{ args, livenessProbe, readinessProbe }] = templateOf(render({ listen: { host } })).spec.containers;
    expect(args).toContain(`--listen=${address}`);
    expect(() => parseListenAddress(address)).not.toThrow();
    for (const { httpGet } of [livenessProbe, readinessProbe]) expect(httpGet.host).toBe(probed);
  });

  it('Secrets, volumes, variables, labels and annotations appear in the Pod', () => {
    const { metadata, spec } = templateOf(
      render({
        secrets: ['loki', 'proxy.ca'],
        extraVolumes: [{ name: 'certs', hostPath: { path: '/etc/ssl/certs' } }],
        extraVolumeMounts: [{ name: 'certs', mountPath: '/etc/ssl/certs', readOnly: true }],
        extraEnv: [{ name: 'TOKEN', valueFrom: { secretKeyRef: { name: 'loki', key: 'token' } } }],
        podLabels: { team: 'net' },
        podAnnotations: { 'sidecar.istio.io/inject': 'false' },
      }),
    );
    const [{ env, volumeMounts }] = spec.containers;
    expect(metadata.labels).toEqual({ 'app.kubernetes.io/name': 'netsonde', team: 'net' });
    expect(metadata.annotations).toMatchObject({ 'sidecar.istio.io/inject': 'false' });
    expect(env.map(({ name }) => name)).toEqual(['NODE_NAME', 'POD_NAMESPACE', 'TOKEN']);
    const secrets = spec.volumes.filter(({ secret }) => secret !== undefined);
    expect(secrets.map(({ secret }) => secret?.secretName)).toEqual(['loki', 'proxy.ca']);
    const paths = volumeMounts.map(({ mountPath }) => mountPath);
    expect(paths).toEqual(
      expect.arrayContaining(['/etc/netsonde-secrets/loki', '/etc/netsonde-secrets/proxy.ca', '/etc/ssl/certs']),
    );
  });

  it('a label that the chart sets too appears once; a label of the selector cannot be changed', () => {
    const labels = { 'app.kubernetes.io/name': 'mine' };
    const monitor = render({ podMonitor: { labels } }).find(({ kind }) => kind === 'PodMonitor');
    expect(monitor?.metadata).toMatchObject({ labels });
    expect(() => renderer.render(CHART, { podLabels: labels })).toThrow(
      'podLabels: app.kubernetes.io/name is what selects the Pods',
    );
  });

  it.each(['HostToContainer', 'None'])('mountPropagation %s of /run/netns', (netnsMountPropagation) => {
    for (const { volumeMounts } of templateOf(render({ netnsMountPropagation, tools: true })).spec.containers) {
      expect(volumeMounts.find(({ name }) => name === 'netns')).toMatchObject({
        mountPropagation: netnsMountPropagation,
      });
    }
  });

  it('two releases share no object, and none selects the Pods of another', () => {
    const places = [
      ['netsonde', 'netsonde'],
      ['netsonde', 'edge'],
      ['other', 'netsonde'],
      ['other', 'netsonde-edge'],
      ['a-very-long-name-of-a-namespace-as-some-have-them-in-big-clusters', 'x'.repeat(53)],
    ] as const;
    const releases = places.map(([namespace, release]) => render({ configSource: 'api' }, namespace, release));
    const all = releases.flatMap(idsOf);
    expect(new Set(all).size).toBe(all.length);
    const selectors = releases.map((objects) => {
      const { labels } = templateOf(objects).metadata;
      for (const { kind, spec } of objects) {
        const { selector, podSelector = selector } = (spec ?? {}) as { selector?: unknown; podSelector?: unknown };
        if (podSelector !== undefined) expect(podSelector, kind).toEqual({ matchLabels: labels });
      }
      const binding = objects.find(({ kind }) => kind === 'ClusterRoleBinding');
      const role = objects.find(({ kind }) => kind === 'ClusterRole');
      expect(binding).toMatchObject({ roleRef: { name: role?.metadata.name } });
      return `${objects.find(({ kind }) => kind === 'DaemonSet')?.metadata.namespace} ${JSON.stringify(labels)}`;
    });
    expect(new Set(selectors).size).toBe(selectors.length);
    for (const name of all.map((id) => id.split('/')[1] ?? '')) expect(name.length).toBeLessThanOrEqual(253);
  });
});
