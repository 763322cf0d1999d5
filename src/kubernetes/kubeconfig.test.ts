import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { ApiServer } from '../../test/support/api_server.ts';
import { loadKubeConfig } from './kubeconfig.ts';
import { openSession } from './session.ts';

const folder = mkdtempSync(join(tmpdir(), 'kubeconfig-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, server: string, user: Readonly<Record<string, unknown>>, ca?: string): string {
  const path = join(folder, name);
  const cluster = { server, ...(ca !== undefined && { 'certificate-authority': ca }) };
  writeFileSync(
    path,
    stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user }],
      contexts: [{ name: name, context: { cluster: 'c', user: 'u' } }],
      'current-context': name,
    }),
  );
  return path;
}

describe('$KUBECONFIG', () => {
  it('may name files that are missing, and of the others the first one counts', () => {
    const first = write('first', 'https://first.example:6443', { token: 'a' });
    const second = write('second', 'https://second.example:6443', { token: 'b' });
    const config = loadKubeConfig(undefined, { KUBECONFIG: `/missing::${first}:${second}` });
    expect(config.getCurrentCluster()?.server).toBe('https://first.example:6443');
    expect(config.getCurrentUser()?.token).toBe('a');
    expect(config.getContexts().map(({ name }) => name)).toEqual(['first', 'second']);
  });

  it('that names nothing that exists is told', () => {
    expect(() => loadKubeConfig(undefined, { KUBECONFIG: '/missing:/gone' })).toThrow(
      '$KUBECONFIG: there is no file /missing, and none /gone',
    );
  });

  it('that is empty leaves ~/.kube/config', () => {
    mkdirSync(join(folder, '.kube'));
    write('.kube/config', 'https://home.example:6443', {});
    expect(loadKubeConfig(undefined, { KUBECONFIG: '', HOME: folder }).getCurrentCluster()?.server).toBe(
      'https://home.example:6443',
    );
  });
});

describe('tokenFile', () => {
  it('is relative to the kubeconfig, goes before a token, and may end in a line feed', async () => {
    await using server = await ApiServer.start();
    const { write: writeToken } = server.rotateToken();
    writeToken();
    writeFileSync(join(folder, 'token'), `${server.token}\n`);
    const ca = join(server.folder, 'tls.crt');
    const session = openSession(write('files', server.url, { token: 'old', tokenFile: 'token' }, ca));
    const signal = new AbortController().signal;
    const { status, body } = await session.request({ method: 'GET', path: '/api/v1/pods', signal });
    body.destroy();
    expect(status).toBe(200);
  });
});
