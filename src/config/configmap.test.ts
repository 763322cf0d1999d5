import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { openSession } from '#kubernetes/session.ts';
import { configMapObject } from '../../test/support/api_objects.ts';
import { ApiServer } from '../../test/support/api_server.ts';
import { eventually } from '../../test/support/oracle.ts';
import { ConfigMapWatcher, parseConfigMapRef } from './configmap.ts';
import type { FileContent } from './watch.ts';

it('a text under binaryData is taken, other data is reported, and a refusal says what is missing', async () => {
  await using server = await ApiServer.start();
  const put = (bytes: Buffer) =>
    server.put('configmaps', {
      ...configMapObject('netsonde', 'netsonde', {}, randomUUID()),
      binaryData: { 'netsonde.yaml': bytes.toString('base64') },
    });
  put(Buffer.from('detail: full'));
  const seen: FileContent[] = [];
  await using watcher = new ConfigMapWatcher(
    openSession(server.kubeconfig),
    parseConfigMapRef('netsonde/netsonde'),
    () => undefined,
    (content) => seen.push(content),
  );
  await watcher.firstRead;
  put(Buffer.from([0xff, 0xfe]));
  await eventually(() => expect(seen).toHaveLength(2));
  expect(seen).toEqual([
    { text: 'detail: full' },
    { error: 'the ConfigMap netsonde/netsonde has no text under netsonde.yaml: its binaryData is not UTF-8' },
  ]);
  expect(watcher.trouble).toBeUndefined();
  server.mood = { kind: 'fails', status: 403 };
  server.resetStreams();
  await eventually(() =>
    expect(watcher.trouble).toMatch(/^configmaps: .* 403 .*list and watch configmaps in the namespace netsonde/),
  );
});
