import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { policy } from './policy.ts';

const CLUSTER = `
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { tenant: a } }
---
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { containers: [{ ports: [{ name: http, containerPort: 8080 }] }] }
status: { podIP: 10.0.0.2, hostIP: 192.168.0.1 }
---
apiVersion: v1
kind: Pod
metadata: { name: cart, namespace: shop, labels: { app: cart } }
status: { podIP: 10.0.0.3, hostIP: 192.168.0.1 }
---
apiVersion: v1
kind: Pod
metadata: { name: job, namespace: tools, labels: { app: cart } }
status: { podIP: 10.0.1.4 }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop }
spec:
  podSelector: { matchLabels: { app: web } }
  ingress:
    - from: [{ podSelector: { matchLabels: { app: cart } } }]
      ports: [{ port: http }]
    - from: [{ namespaceSelector: { matchLabels: { tenant: b } } }]
    - from: [{ ipBlock: { cidr: 198.51.100.0/24 } }]
---
apiVersion: crd.projectcalico.org/v1
kind: NetworkPolicy
metadata: { name: default.web, namespace: shop }
spec: { order: 1 }
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: web, namespace: shop }
`;

const folder = mkdtempSync(join(tmpdir(), 'policy-'));
const file = join(folder, 'cluster.yaml');
beforeAll(() => writeFileSync(file, CLUSTER));
afterAll(() => rmSync(folder, { recursive: true }));

const run = (...args: readonly string[]) => policy(args, new AbortController().signal);
const ask = (from: string, to: string, ...more: readonly string[]) =>
  run('--file', file, '--from', from, '--to', to, ...more);

describe('netsonde policy --file', () => {
  it('prints the verdict of both directions, with the rule, and exits with 0', async () => {
    expect(await ask('shop/cart', 'shop/web:8080')).toEqual({
      code: 0,
      text: `allowed: shop/cart to shop/web tcp/8080
egress of shop/cart: allowed: no policy decides about tcp/8080 to shop/web (app=web)
ingress of shop/web: allowed: NetworkPolicy/shop/web ingress[0] matches tcp/8080 from shop/cart (app=cart)
may also apply, not evaluated: cilium.io, crd.projectcalico.org
`,
    });
  });

  it('exits with 1 if the connection is denied', async () => {
    const { code, text } = await ask('shop/cart', 'shop/web:8080/udp');
    expect(code).toBe(1);
    expect(text).toContain(
      'ingress of shop/web: denied: NetworkPolicy/shop/web selects the Pod, and no rule allows udp/8080 from shop/cart (app=cart)',
    );
  });

  it('exits with 2 if the verdict is unknown, and says what was not known', async () => {
    const { code, text } = await ask('tools/job', 'shop/web:9090');
    expect(code).toBe(2);
    expect(text).toContain(
      'ingress of shop/web: unknown: it depends on facts that are missing: label tenant of namespace tools.',
    );
    expect(text).toContain('note: the files do not have the Namespace tools with its labels');
  });

  it('prints JSON', async () => {
    const { code, text } = await ask('tools/job', 'shop/web:9090', '-o', 'json');
    expect(code).toBe(2);
    expect(JSON.parse(text)).toMatchObject({
      verdict: 'unknown',
      from: 'tools/job',
      to: 'shop/web',
      port: 9090,
      protocol: 'tcp',
      egress: { verdict: 'allowed', cause: 'unselected', by: [] },
      ingress: {
        verdict: 'unknown',
        by: ['NetworkPolicy/shop/web ingress[1]'],
        unknown: ['label tenant of namespace tools'],
      },
      notEvaluated: ['cilium.io', 'crd.projectcalico.org'],
    });
  });

  it('an address is that of a Pod in the files, of its node, or outside', async () => {
    expect((await ask('10.0.0.3', 'shop/web:8080')).text).toContain('allowed: shop/cart to shop/web');
    expect((await ask('198.51.100.7', 'shop/web:1')).code).toBe(0);
    expect((await ask('198.51.101.7', 'shop/web:1')).code).toBe(1);
    expect((await ask('192.168.0.1', 'shop/web:1')).text).toContain('connections from the node of shop/web');
    expect((await ask('198.51.101.7', 'tools/job:1')).text).toContain(
      'it is assumed that 198.51.101.7 is not the node of tools/job',
    );
    expect((await ask('shop/web', '198.51.100.7:443')).code).toBe(0);
  });

  it('takes several files, and later objects replace earlier ones', async () => {
    const later = join(folder, 'later.yaml');
    writeFileSync(
      later,
      'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: web, namespace: shop }\nspec: { podSelector: {}, ingress: [{}] }\n',
    );
    expect((await run('--file', file, later, '--from', 'tools/job', '--to', 'shop/web:1')).code).toBe(0);
    expect((await run('--file', file, '--file', later, '--from', 'tools/job', '--to', 'shop/web:1')).code).toBe(0);
    expect((await run('--file', later, file, '--from', 'shop/cart', '--to', 'shop/web:1')).code).toBe(1);
  });

  it('names cannot control a terminal', async () => {
    const hostile = join(folder, 'hostile.yaml');
    const attack = 'a\u001b[2J\u202e\nallowed: b';
    const label = JSON.stringify({ [attack]: attack });
    writeFileSync(
      hostile,
      `
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop, labels: ${label} }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: ${JSON.stringify(attack)}, namespace: shop }
spec: { podSelector: {}, policyTypes: [Ingress, Egress], ${JSON.stringify(attack)}: 1 }
`,
    );
    for (const format of ['text', 'json']) {
      const { text } = await run('--file', hostile, '--from', 'shop/web', '--to', '192.0.2.1:1', '-o', format);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the output must not contain these characters
      expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/);
      expect(text.split('\n').filter((line) => line.startsWith('allowed'))).toEqual([]);
      expect(text).toContain(format === 'text' ? '\\u{1b}' : '\\u001b');
    }
  });

  it.each([
    [['--from', 'shop/web', '--to', 'shop/none:1'], '--to: there is no Pod shop/none in the files'],
    [['--from', 'shop/none', '--to', 'shop/web:1'], '--from: there is no Pod shop/none in the files'],
    [['--from', 'shop/web'], 'give --from and --to'],
    [['--from', 'web', '--to', 'shop/web:1'], '--from web: give NAMESPACE/POD'],
    [['--from', 'shop/web', '--to', 'shop/web'], '--to shop/web: give NAMESPACE/POD:PORT'],
    [['--from', 'shop/web', '--to', 'shop/web:1', '-o', 'yaml'], '-o yaml: give json or text'],
  ])('%j is refused', async (args, message) => {
    await expect(run('--file', file, ...args)).rejects.toThrow(message);
  });

  it.each([
    [['--from', 'a/b', '--to', 'a/b'], '--to a/b: give NAMESPACE/POD:PORT'],
    [['suggest', '--pod', 'b'], '--pod b: give NAMESPACE/POD'],
    [['--from', 'a/b', '--to', 'a/b:1', '-o', 'yaml'], '-o yaml: give json or text'],
  ])('%j is refused although no objects can be read either', async (args, message) => {
    await expect(run('--file', join(folder, 'none'), ...args)).rejects.toThrow(message);
  });

  it('an argument that is no file is refused', async () => {
    await expect(run('sugest', '--from', 'shop/web', '--to', 'shop/web:1')).rejects.toThrow('sugest: unknown argument');
    await expect(run('--file', join(folder, 'none'), '--from', 'a/b', '--to', 'a/b:1')).rejects.toThrow(
      'there is no such file',
    );
  });
});
