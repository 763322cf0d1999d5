import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { FLOWS_SUMMARY, type FlowsSummary } from '#api/flows.ts';
import { policy } from '../policy.ts';
import { FilesWorld } from './files_world.ts';
import { manifestsIn } from './manifests.ts';
import { suggest } from './suggest.ts';

const POD = (id: string, ip: string, labels: string) => {
  const [namespace, name] = id.split('/');
  return `apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: ${namespace}, labels: ${labels} }
status: { podIP: ${ip}, hostIP: 192.168.0.1 }
---
`;
};
const PODS = [
  POD('shop/web', '10.0.0.2', '{ app: web, pod-template-hash: 5d8f }'),
  POD('shop/cart', '10.0.0.3', '{ app: cart }'),
  POD('data/db-0', '10.0.1.4', '{ app: db, apps.kubernetes.io/pod-index: "0" }'),
].join('');
const NAMESPACES =
  'apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n---\napiVersion: v1\nkind: Namespace\nmetadata: { name: data }\n';
const CLUSTER = PODS + NAMESPACES;
const SERVICE = `---
apiVersion: v1
kind: Service
metadata: { name: api, namespace: data }
spec: { clusterIP: 10.96.0.9, selector: { app: api }, ports: [{ port: 80, targetPort: 8080 }, { port: 81, targetPort: http }] }
`;

const edge = (more: object = {}) => ({
  namespace: 'shop',
  pod: 'web',
  netns: '1',
  role: 'server',
  peer: '10.0.0.3',
  peerKind: 'workload',
  peerNamespace: 'shop',
  peerName: 'cart',
  port: 8080,
  open: 0,
  connections: 10,
  failed: {},
  sentBytes: 1,
  receivedBytes: 1,
  sentSegments: 1,
  retransmittedSegments: 0,
  roundTripSeconds: null,
  roundTripCount: 0,
  ...more,
});
const toDb = (more: object = {}) =>
  edge({ role: 'client', peer: '10.0.1.4', peerNamespace: 'data', peerName: 'db', port: 5432, ...more });

let flows: { edges: object[]; rest: object[]; omitted: number };
let server: Server;
let asked: string[];
const folder = mkdtempSync(join(tmpdir(), 'edges-'));
const cluster = join(folder, 'cluster.yaml');
const changed = join(folder, 'changed.yaml');

beforeAll(async () => {
  writeFileSync(cluster, CLUSTER);
  server = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.end(JSON.stringify({ node: 'n1', collectedAt: '2026-01-01T00:00:00.000Z', ...flows }));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
});
beforeEach(() => {
  flows = { edges: [], rest: [], omitted: 0 };
  asked = [];
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

const run = (...args: readonly string[]) => {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return policy([...args, '--file', cluster, '--url', url], new AbortController().signal);
};

describe('netsonde policy --what-if', () => {
  const whatIf = (spec: string, ...more: readonly string[]) => {
    writeFileSync(
      changed,
      `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: web, namespace: shop }\nspec: ${spec}\n`,
    );
    return run('--what-if', changed, ...more);
  };

  it('names the edges that would break, with the reason, and exits with 1', async () => {
    flows.edges = [edge(), toDb(), edge({ peer: '10.0.1.4', peerNamespace: 'data', peerName: 'db', connections: 3 })];
    const { code, text } = await whatIf(
      '{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}]}]}',
    );
    expect(code).toBe(1);
    expect(text.split('\n')).toEqual([
      '3 edges on n1: 1 would break, 0 are unknown, 2 stay as they are',
      '',
      expect.stringMatching(/^ +CLIENT +SERVER +PORT +CONNECTIONS +REASON$/),
      expect.stringMatching(
        /^breaks +data\/db-0 +shop\/web +tcp\/8080 +3 +ingress: NetworkPolicy\/shop\/web selects the Pod, and no rule allows tcp\/8080 from data\/db-0 \(app=db, /,
      ),
      '',
    ]);
    expect(asked).toEqual(['/api/v1/flows?limit=20000']);
  });

  it('exits with 0 if nothing breaks', async () => {
    flows.edges = [edge(), toDb()];
    expect(await whatIf('{podSelector: {}, ingress: [{}]}')).toEqual({
      code: 0,
      text: '2 edges on n1: 0 would break, 0 are unknown, 2 stay as they are\n',
    });
  });

  it('exits with 2 if it is not known, as for the Pods behind a Service', async () => {
    flows.edges = [toDb({ peer: '10.96.0.7', peerKind: 'service', peerName: 'postgres' })];
    const { code, text } = await whatIf('{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 5432}]}]}');
    expect(code).toBe(2);
    expect(text).toMatch(/^unknown +shop\/web +Service data\/postgres +tcp\/5432/m);
    expect((await whatIf('{podSelector: {}, policyTypes: [Egress]}')).code).toBe(1);
    expect((await whatIf('{podSelector: {}, policyTypes: [Egress], egress: [{}]}')).code).toBe(0);
  });

  it('knows the selector of a Service and the port behind it', async () => {
    writeFileSync(cluster, CLUSTER + SERVICE);
    try {
      const to = (label: string, port: number) =>
        `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}, podSelector: {matchLabels: {${label}}}}], ports: [{port: ${port}}]}]}`;
      const service = { peer: '10.96.0.9', peerKind: 'service', peerName: 'api' };
      flows.edges = [toDb({ ...service, port: 80 })];
      expect((await whatIf(to('app: other', 8080))).code).toBe(1);
      expect((await whatIf(to('app: api', 80))).code).toBe(1);
      expect((await whatIf(to('tier: x', 8080))).code).toBe(2);
      flows.edges = [toDb({ ...service, port: 81 })];
      expect((await whatIf(to('app: api', 8080))).code).toBe(2);
      // This is the address of one of the Service's Pods, and the edge has the port of the Pod.
      flows.edges = [toDb({ ...service, peer: '10.0.1.7', port: 8080 })];
      expect((await whatIf(to('app: api', 8080))).code).toBe(0);
    } finally {
      writeFileSync(cluster, CLUSTER);
    }
  });

  it('an address that no Pod has is outside', async () => {
    flows.edges = [
      toDb({ peer: '203.0.113.7', peerKind: 'external', peerNamespace: '', peerName: 'payments', port: 443 }),
    ];
    const egress = (cidr: string) =>
      `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: ${cidr}}}]}]}`;
    expect((await whatIf(egress('203.0.113.0/24'))).code).toBe(0);
    expect((await whatIf(egress('10.0.0.0/8'))).code).toBe(1);
  });

  it('counts what it leaves out', async () => {
    const node = edge({ namespace: '', pod: '' });
    flows = {
      edges: [node, edge({ connections: 0, failed: { refused: 3 } }), edge({ peerKind: 'self' }), edge()],
      rest: [edge({ peer: '*', connections: 7 })],
      omitted: 5,
    };
    const { text } = await whatIf('{podSelector: {}, ingress: [{}]}');
    expect(text).toBe(`1 edges on n1: 0 would break, 0 are unknown, 1 stay as they are
3 further edges belong to no Pod, or no connection was established
note: the agent left out 5 further edges
note: 7 connections have no edge of their own, so nothing is known about them
`);
  });

  it('prints JSON', async () => {
    flows.edges = [edge()];
    const { text } = await whatIf('{podSelector: {}}', '-o', 'json');
    expect(JSON.parse(text)).toMatchObject({
      verdict: 'denied',
      node: 'n1',
      edges: [
        {
          fate: 'breaks',
          before: 'allowed',
          after: 'denied',
          client: 'shop/cart',
          server: 'shop/web',
          by: ['NetworkPolicy/shop/web'],
        },
      ],
    });
  });

  it('refuses a file without a policy, and other options', async () => {
    writeFileSync(changed, NAMESPACES);
    await expect(run('--what-if', changed)).rejects.toThrow('there is no policy in it');
    await expect(run('--what-if', join(folder, 'none'))).rejects.toThrow('--what-if');
    await expect(run('--what-if', changed, '--from', 'a/b')).rejects.toThrow('policy --what-if: leave out --from');
  });
});

describe('netsonde policy suggest', () => {
  const suggested = async () => (await run('suggest', '--pod', 'shop/web')).text;

  it('allows what was seen, by labels that last, and nothing else', async () => {
    flows.edges = [edge(), edge({ port: 9090 }), toDb()];
    const text = await suggested();
    expect(parse(text)).toEqual({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'web-seen', namespace: 'shop' },
      spec: {
        podSelector: { matchLabels: { app: 'web' } },
        policyTypes: ['Ingress', 'Egress'],
        ingress: [
          {
            from: [{ podSelector: { matchLabels: { app: 'cart' } } }],
            ports: [
              { protocol: 'TCP', port: 8080 },
              { protocol: 'TCP', port: 9090 },
            ],
          },
        ],
        egress: [
          {
            to: [
              {
                namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'data' } },
                podSelector: { matchLabels: { app: 'db' } },
              },
            ],
            ports: [{ protocol: 'TCP', port: 5432 }],
          },
        ],
      },
    });
    expect(text.match(/^# .*$/gm)).toEqual([expect.stringContaining('# warning: only TCP was seen')]);
    expect(asked).toEqual(['/api/v1/flows?namespace=shop&pod=web&limit=20000']);
  });

  it('concerns only directions in which something was seen', async () => {
    flows.edges = [edge()];
    expect(parse(await suggested()).spec).toMatchObject({ policyTypes: ['Ingress'] });
    flows.edges = [toDb()];
    expect(parse(await suggested()).spec).toMatchObject({ policyTypes: ['Egress'] });
  });

  it('needs no rule for the node of the Pod', async () => {
    flows.edges = [edge({ peer: '192.168.0.1', peerKind: 'node', peerNamespace: '', peerName: 'n1' })];
    const text = await suggested();
    expect(parse(text).spec).toMatchObject({ policyTypes: ['Ingress'], ingress: [] });
    expect(text).not.toContain('#');
  });

  it('allows the Pods of a Service, by its selector and the port behind it', async () => {
    const seen = [toDb({ peer: '10.96.0.9', peerKind: 'service', peerName: 'api', port: 80 })];
    const world = new FilesWorld(manifestsIn(CLUSTER + SERVICE, 'cluster'));
    const report = { node: 'n', collectedAt: '2026-01-01T00:00:00.000Z', edges: seen, rest: [], omitted: 0 };
    const { policy: suggestion } = await suggest(world, FLOWS_SUMMARY.parse(report), 'shop', 'web');
    expect(suggestion).toMatchObject({
      spec: {
        egress: [
          {
            to: [{ podSelector: { matchLabels: { app: 'api' } } }],
            ports: [{ protocol: 'TCP', port: 8080 }],
          },
        ],
      },
    });
  });

  it('puts peers with the same ports into one rule', async () => {
    flows.edges = [edge(), edge({ peer: '10.0.1.4' }), edge({ peer: '203.0.113.7', peerKind: 'external', port: 443 })];
    const { ingress } = parse(await suggested()).spec;
    expect(ingress).toHaveLength(2);
    expect(ingress[0].from).toHaveLength(2);
    expect(ingress[1]).toEqual({
      from: [{ ipBlock: { cidr: '203.0.113.7/32' } }],
      ports: [{ protocol: 'TCP', port: 443 }],
    });
  });

  it.each([
    ['seen only once: shop/cart to shop/web tcp/8080', [edge({ connections: 1 })]],
    [
      '203.0.113.7 to shop/web tcp/8080: allowed by its address, which may change',
      [edge({ peer: '203.0.113.7', peerKind: 'external' })],
    ],
    [
      'shop/gone (10.0.0.9) to shop/web tcp/8080: no lasting label of the Pod is known',
      [edge({ peer: '10.0.0.9', peerName: 'gone' })],
    ],
    [
      'shop/web to Service data/postgres tcp/5432: the port behind the Service is not known',
      [toDb({ peer: '10.96.0.7', peerKind: 'service', peerName: 'postgres' })],
    ],
    [
      '1 edges on which no connection was established are not allowed',
      [edge(), edge({ port: 81, connections: 0, failed: { refused: 1 } })],
    ],
  ])('warns: %s', async (warning, edges) => {
    flows.edges = edges;
    expect(await suggested()).toContain(`# warning: ${warning}`);
  });

  it('warns about connections that no edge shows', async () => {
    flows = { edges: [edge()], rest: [edge({ peer: '*', connections: 7 })], omitted: 2 };
    const text = await suggested();
    expect(text).toContain('# warning: 7 connections have no edge of their own');
    expect(text).toContain('# warning: the agent left out 2 edges');
  });

  it('names of other ends cannot control a terminal or add a line to the manifest', async () => {
    const attack = 'x\n\u001b[2Jspec: {}';
    flows.edges = [edge({ peer: '10.0.0.9', peerName: attack, connections: 1 })];
    const text = await suggested();
    expect(text).toContain('\\u{a}\\u{1b}');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the output must not contain these characters
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
    expect(parse(text).spec.policyTypes).toEqual(['Ingress']);
  });

  it('needs the Pod and a connection', async () => {
    await expect(suggested()).rejects.toThrow('--pod shop/web: the agent has seen no connection');
    await expect(run('suggest', '--pod', 'shop/none')).rejects.toThrow(
      '--pod shop/none: its labels are not known: it is not in the files',
    );
    await expect(run('suggest')).rejects.toThrow('policy suggest: give --pod');
    await expect(run('suggest', '--pod', 'web')).rejects.toThrow('--pod web: give NAMESPACE/POD');
  });

  // Pods behind a Service may use the network of their node. No selector matches such Pods.
  it('the policy allows every edge that was seen, except some to Services, which it warns about', async () => {
    const world = new FilesWorld(manifestsIn(CLUSTER, 'cluster'));
    const peers = fc.constantFrom(
      { peer: '10.0.0.3', peerKind: 'workload', peerNamespace: 'shop', peerName: 'cart' },
      { peer: '10.0.1.4', peerKind: 'pod', peerNamespace: 'data', peerName: 'db-0' },
      { peer: '10.0.1.9', peerKind: 'workload', peerNamespace: 'data', peerName: 'gone' },
      { peer: '10.0.0.9', peerKind: 'pod', peerNamespace: 'shop', peerName: 'gone' },
      { peer: '192.168.0.1', peerKind: 'node', peerNamespace: '', peerName: 'n1' },
      { peer: 'fd00::7', peerKind: 'unknown', peerNamespace: '', peerName: '' },
      { peer: '10.96.0.7', peerKind: 'service', peerNamespace: 'data', peerName: 'postgres' },
    );
    const edges = fc.array(
      fc
        .record({ peer: peers, role: fc.constantFrom('client', 'server'), port: fc.constantFrom(80, 443) })
        .map(({ peer, ...more }) => edge({ ...peer, ...more })),
      { minLength: 1, maxLength: 8 },
    );
    await fc.assert(
      fc.asyncProperty(edges, async (seen) => {
        const report = { node: 'n', collectedAt: '2026-01-01T00:00:00.000Z', edges: seen, rest: [], omitted: 0 };
        const { warnings } = await suggest(world, FLOWS_SUMMARY.parse(report) as FlowsSummary, 'shop', 'web');
        expect(warnings.filter((warning) => /may not allow(?!.* Service )/.test(warning))).toEqual([]);
      }),
    );
  });
});
