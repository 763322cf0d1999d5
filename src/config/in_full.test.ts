import { expect, it } from 'vitest';
import { PROBES } from '#probes/index.ts';
import { ConfigReader } from './load.ts';

const reader = new ConfigReader(PROBES);

it('writes out the defaults, in the terms of the document', () => {
  const { document } = reader.parse('sinks: { stdout: }');
  expect(document).toMatchObject({
    detail: 'core',
    peers: 'services',
    events: { limit: 200, fold: '5s', history: 1_000 },
    sinks: { stdout: { queue: 10_000, queueBytes: '16MiB' } },
    probes: { softirq: { enabled: false, buckets: { from: '1us', to: '100ms' } } },
  });
  expect(document['sinks']).not.toHaveProperty('loki');
});

it('holds no secrets', () => {
  const secret = 'geheim';
  const sink = `{ url: "https://x.example", headers: { X-Key: ${secret} }, basicAuth: { username: u, passwordFile: /run/p } }`;
  const { document } = reader.parse(`{ sinks: { loki: ${sink}, otlp: ${sink} }, log: { loki: ${sink} } }`);
  const text = JSON.stringify(document);
  expect(text).not.toContain(secret);
  expect(text.match(/"X-Key":"\(hidden\)"/g)).toHaveLength(3);
  expect(document).toMatchObject({ sinks: { loki: { basicAuth: { passwordFile: '/run/p' }, timeout: '10s' } } });
});
