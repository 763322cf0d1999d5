import { afterAll, beforeAll, expect, it } from 'vitest';
import { textOf } from '#collectors/gzip.ts';
import { PROBES } from '#probes/index.ts';
import { parseExposition, sampleValue } from '../support/exposition.ts';
import { TestKernel } from '../support/kernel.ts';

let agent: TestKernel;

beforeAll(async () => {
  agent = await TestKernel.open();
});

afterAll(() => agent[Symbol.asyncDispose]());

async function collections(): Promise<number> {
  return sampleValue(await agent.page(), 'netsonde_probe_collect_seconds_count', { probe: 'tcp' }) ?? 0;
}

it('scrapes at the same time share one collection, in both formats', async () => {
  const before = await collections();
  const pages = await Promise.all(
    Array.from({ length: 8 }, (_, index) => agent.kernel.page(index % 2 === 0 ? 'text' : 'openmetrics')),
  );
  expect((await collections()) - before).toBe(2);
  const texts = pages.map((page) => Buffer.concat(textOf(page.content)).toString());
  expect(texts[0]).toContain('# TYPE netsonde_tcp_active_opens_total counter');
  expect(texts[1]).toContain('# TYPE netsonde_tcp_active_opens counter');
  for (const text of texts)
    expect(parseExposition(text).samples).toHaveLength(parseExposition(texts[0] ?? '').samples.length);
});

it('a later scrape gets its own collection, never a mixture', async () => {
  const first = agent.kernel.page('text');
  await new Promise((resolve) => setImmediate(resolve));
  const second = agent.kernel.page('text');
  await first;
  const third = agent.kernel.page('text');
  for (const page of [first, second, third]) {
    const { content } = await page;
    expect(parseExposition(Buffer.concat(textOf(content)).toString()).samples.length).toBeGreaterThan(100);
  }
});

it('reads nothing for probes that are off', async () => {
  await agent.kernel.configure({});
  const page = await agent.page();
  const own = page.samples.filter(({ labels }) => 'pod' in labels);
  expect(own).toEqual([]);
  expect(page.samples.filter(({ labels, value }) => labels['state'] === 'stopped' && value === '1')).toHaveLength(
    PROBES.length,
  );
});
