import { afterAll, afterEach, beforeAll, beforeEach, expect, vi } from 'vitest';
import { testAccess } from './page/access.ts';
import { PageSite, SLOW_MS } from './page/site.ts';

vi.setConfig({ testTimeout: 3 * SLOW_MS, hookTimeout: 3 * SLOW_MS });

const site = new PageSite();

beforeAll(() => site.start());
afterAll(() => site[Symbol.asyncDispose]());
beforeEach(() => site.newPage());
afterEach(async () => {
  expect(site.complaints).toEqual([]);
  await site.page.close();
});

testAccess(site);
