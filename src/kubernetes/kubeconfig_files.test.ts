import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Files } from '#files/files.ts';
import { sh } from '../../test/support/command.ts';
import { checkKubeconfig } from './kubeconfig_files.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kubeconfig-'));
  sh(`mkfifo ${folder}/pipe`);
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

const check = (...paths: string[]) =>
  checkKubeconfig(new Files(), { KUBECONFIG: paths.map((path) => join(folder, path)).join(':') });

function write(cluster: object, user: object): void {
  const config = {
    clusters: [{ name: 'x', cluster: { server: 'https://127.0.0.1:1', ...cluster } }],
    users: [{ name: 'x', user }],
    contexts: [{ name: 'x', context: { cluster: 'x', user: 'x' } }],
    'current-context': 'x',
  };
  writeFileSync(join(folder, 'config'), JSON.stringify(config));
}

it('refuses a kubeconfig that is a pipe, and does not wait for one that is missing', async () => {
  await expect(check('none', 'pipe')).rejects.toThrow(`KUBECONFIG: ${folder}/pipe is a pipe: give a regular file`);
  await check('none');
  writeFileSync(join(folder, 'config'), '{ no yaml');
  await check('config');
});

it.each([
  ['certificate-authority', { 'certificate-authority': 'pipe' }, {}],
  ['client-certificate', {}, { 'client-certificate': 'pipe', 'client-key': 'none' }],
  ['client-key', {}, { 'client-key': 'pipe' }],
  ['token-file', {}, { 'token-file': 'pipe' }],
  ['tokenFile', {}, { 'auth-provider': { name: 'x', config: { tokenFile: 'PIPE' } } }],
])('refuses a %s that is a pipe', async (field, cluster, user) => {
  write(cluster, JSON.parse(JSON.stringify(user).replace('PIPE', join(folder, 'pipe'))) as object);
  await expect(check('config')).rejects.toThrow(
    `${field} of ${folder}/config: ${folder}/pipe is a pipe: give a regular file`,
  );
});
