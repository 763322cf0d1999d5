import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { POLICIES_MAX } from '#policies/policy_set.ts';
import { AgentProcess, BIN } from '../support/agent_process.ts';
import { podObject } from '../support/api_objects.ts';
import { type ApiObject, ApiServer } from '../support/api_server.ts';

const pod = (name: string, namespace: string, ip: string) => ({
  ...podObject({ name, namespace, labels: { app: name }, ips: [ip] }),
  apiVersion: 'v1',
});
const web = pod('web', 'shop', '10.0.0.2');
const cart = pod('cart', 'shop', '10.0.0.3');
const DENY = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { uid: 'deny', name: 'deny', namespace: 'shop' },
  spec: { podSelector: { matchLabels: { app: 'web' } } },
};
const list = (...items: readonly object[]) => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });

function ask(input: string, ...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(BIN, ['policy', '--file', '-', ...args], { input, encoding: 'utf8' });
  return { code: status, stdout, stderr };
}

describe('netsonde policy', () => {
  it('exits with 0, 1 and 2 for its verdicts, and with 2 for errors', () => {
    const question = ['--from', 'shop/cart', '--to', 'shop/web:80'];
    expect(ask(list(web, cart), ...question)).toMatchObject({ code: 0, stderr: '' });
    const denied = ask(list(web, cart, DENY), ...question, '-o', 'json');
    expect([denied.code, JSON.parse(denied.stdout).verdict]).toEqual([1, 'denied']);
    const later = { ...DENY, spec: { ...DENY.spec, ingress: [{ brandNew: 1 }] } };
    const unknown = ask(list(web, cart, later), ...question);
    expect(unknown.code).toBe(2);
    expect(unknown.stdout).toContain('field NetworkPolicy/shop/deny spec.ingress[0].brandNew');
    expect(ask(list(web), ...question)).toEqual({
      code: 2,
      stdout: '',
      stderr: 'netsonde: --from: there is no Pod shop/cart in the files\n',
    });
    expect(ask('a: [', ...question)).toMatchObject({ code: 2, stdout: '' });
    expect(ask('', '--form', 'a/b')).toMatchObject({ code: 2, stdout: '' });
  });

  it('takes ten thousand policies, and says what is beyond them', () => {
    const many = (count: number) =>
      Array.from({ length: count }, (_, index) => ({
        ...DENY,
        metadata: { name: `p${index}`, namespace: `n${index % 50}` },
      }));
    const question = ['--from', 'shop/cart', '--to', 'shop/web:80'];
    expect(ask(list(web, cart, ...many(POLICIES_MAX)), ...question).code).toBe(0);
    const more = ask(list(web, cart, ...many(POLICIES_MAX + 1)), ...question);
    expect([more.code, more.stdout]).toEqual([2, expect.stringContaining('1 policies beyond the first 10000')]);
  });

  it('reads a cluster, and exits with 2 if it does not respond', async () => {
    await using server = await ApiServer.start();
    for (const object of [web, cart]) server.put('pods', object);
    server.put('networkpolicies', DENY as ApiObject);
    const question = ['policy', '--from', 'shop/cart', '--to', 'shop/web:80'];
    const run = async () => {
      await using command = AgentProcess.run(question, [], server.environment('node-1'));
      const { code } = await command.exited;
      return { code, text: command.stdout + command.stderr };
    };
    expect(await run()).toMatchObject({
      code: 1,
      text: expect.stringContaining('NetworkPolicy/shop/deny selects the Pod'),
    });
    expect(new Set(server.requests.map(({ method, isWatch }) => `${method} ${isWatch}`))).toEqual(
      new Set(['GET false']),
    );
    await server.kill();
    expect(await run()).toMatchObject({
      code: 2,
      text: expect.stringContaining('cannot read from the Kubernetes API'),
    });
  });

  it('needs an agent for what a policy would break', async () => {
    await using directory = await mkdtempDisposable(join(tmpdir(), 'policy-'));
    const changed = join(directory.path, 'changed.json');
    writeFileSync(changed, JSON.stringify(DENY));
    const { code, stderr } = ask(list(web, cart), '--what-if', changed, '--url', 'http://127.0.0.1:9');
    expect([code, stderr]).toEqual([2, expect.stringContaining('cannot connect to the agent at 127.0.0.1:9 (--url)')]);
  });
});
