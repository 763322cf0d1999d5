import { afterAll, afterEach, beforeAll, beforeEach, expect, vi } from 'vitest';
import { testEvents } from './page/events_tab.ts';
import { testFlows } from './page/flow_tabs.ts';
import { testIncidents } from './page/incidents_tab.ts';
import { testRequests } from './page/request_tab.ts';
import { PageSite, SLOW_MS } from './page/site.ts';
import { testStates } from './page/state_tabs.ts';
import { testPage } from './page/whole_page.ts';

vi.setConfig({ testTimeout: 3 * SLOW_MS, hookTimeout: 3 * SLOW_MS });

const site = new PageSite();

beforeAll(() => site.start());
afterAll(() => site[Symbol.asyncDispose]());
beforeEach(() => site.newPage());
afterEach(async () => {
  expect(site.complaints).toEqual([]);
  await site.page.close();
});

testEvents(site);
testIncidents(site);
testStates(site);
testFlows(site);
testRequests(site);
testPage(site);
