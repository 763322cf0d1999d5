import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { ApiServer } from '../../test/support/api_server.ts';
import { eventually } from '../../test/support/oracle.ts';
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
  it('may name files that are missing; the first existing one counts', () => {
    const first = write('first', 'https://first.example:6443', { token: 'a' });
    const second = write('second', 'https://second.example:6443', { token: 'b' });
    const config = loadKubeConfig(undefined, { KUBECONFIG: `/missing::${first}:${second}` });
    expect(config.getCurrentCluster()?.server).toBe('https://first.example:6443');
    expect(config.getCurrentUser()?.token).toBe('a');
    expect(config.getContexts().map(({ name }) => name)).toEqual(['first', 'second']);
  });

  it('that names only missing files is reported', () => {
    expect(() => loadKubeConfig(undefined, { KUBECONFIG: '/missing:/gone' })).toThrow(
      '$KUBECONFIG: none of these files exists: /missing, /gone',
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
  it('is relative to the kubeconfig, takes precedence over a token, and may end in a line feed', async () => {
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

describe('exec', () => {
  /** Opens a session of a user whose credentials are printed by a shell script. */
  async function sessionBy(script: string, commandMs: number) {
    const server = await ApiServer.start();
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: '/bin/sh',
      args: ['-c', script],
      env: [{ name: 'TOKEN', value: server.token }],
    };
    const session = openSession(write('exec', server.url, { exec }, join(server.folder, 'tls.crt')), commandMs);
    const ask = async (signal: AbortSignal) => {
      const { status, body } = await session.request({ method: 'GET', path: '/api/v1/pods', signal });
      body.destroy();
      return status;
    };
    return {
      ask,
      session,
      [Symbol.asyncDispose]: async () => {
        session[Symbol.dispose]();
        await server[Symbol.asyncDispose]();
      },
    };
  }

  const HANGS =
    'gets no request, because the command or login server for the credential in the kubeconfig does not respond';
  const never = () => new AbortController().signal;
  /** Returns whether the command is still running. Checks its name, because another process may have reused the PID. */
  const isSleeping = (pid: string) =>
    existsSync(`/proc/${pid}/cmdline`) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('sleep');
  /** Returns the lines that the commands have written to a file. */
  const linesOf = (path: string) => readFileSync(path, 'utf8').trimEnd().split('\n');

  it('is a command that prints the token', async () => {
    const script = `printf '{"kind":"ExecCredential","status":{"token":"%s"}}' "$TOKEN"`;
    await using scene = await sessionBy(script, 60_000);
    expect(await scene.ask(never())).toBe(200);
  });

  it('that hangs is waited for as long as the request has time, and runs once for all waiting requests', async () => {
    const started = join(folder, 'started');
    await using scene = await sessionBy(`echo $$ >> ${started}; exec sleep 600`, 60_000);
    const gone = new AbortController();
    const asked = Array.from({ length: 3 }, () => scene.ask(gone.signal));
    await eventually(() => expect(linesOf(started)).toHaveLength(1));
    gone.abort();
    for (const request of asked) await expect(request).rejects.toThrow(HANGS);
    const later = scene.ask(never());
    scene.session[Symbol.dispose]();
    await expect(later).rejects.toThrow();
    expect(linesOf(started)).toHaveLength(1);
    await eventually(() => expect(linesOf(started).filter(isSleeping)).toEqual([]));
  });

  it('that hangs is killed when its time is over, and the next request runs it again', async () => {
    const started = join(folder, 'again');
    await using scene = await sessionBy(`echo $$ >> ${started}; exec sleep 600`, 100);
    await expect(scene.ask(never())).rejects.toThrow(HANGS);
    await expect(scene.ask(never())).rejects.toThrow(HANGS);
    const pids = linesOf(started);
    expect(pids).toHaveLength(2);
    await eventually(() => expect(pids.filter(isSleeping)).toEqual([]));
  });
});
