import { writeFileSync } from 'node:fs';
import type { Page } from 'playwright-core';
import { expect, it } from 'vitest';
import type { AgentReport } from '#api/agent.ts';
import type { MapReport } from '#api/map.ts';
import { findingsOf } from '../../support/axe.ts';
import { startFlowLoop } from '../../support/flow_loop.ts';
import { LARGE, largeReport, mapReport, shopReport } from '../../support/map_reports.ts';
import { DESK, type PageSite, PHONE } from './site.ts';

const SCHEMES = ['light', 'dark'] as const;
const MAP = '**/api/v1/map';
/** Seconds that pass between two answers about the map. */
const STEP_SECONDS = 10;

/** Answers requests for the map, in the name of the agent's node. */
async function answerMap({ page, agent }: PageSite, reportAt: (seconds: number) => MapReport): Promise<void> {
  const { node } = await agent.json<AgentReport>('/api/v1/agent');
  let seconds = 0;
  await page.route(MAP, (route) => {
    seconds += STEP_SECONDS;
    return route.fulfill({ json: { ...reportAt(seconds), node } });
  });
}

/** Expects no finding in light and in dark mode. */
async function expectAccess(page: Page, where: string): Promise<void> {
  for (const [nth, colorScheme] of SCHEMES.entries()) {
    await page.emulateMedia({ colorScheme });
    expect(await findingsOf(page, nth > 0), `${where}, ${colorScheme}`).toEqual([]);
  }
}

const inTrouble = (seconds: number) => shopReport(seconds, ['refused', 'lossy', 'slow', 'outside']);
const REFUSED = 'checkout → orders:8080';

/** States of the map, each with the steps that lead to it. */
const STATES: Readonly<Record<string, (site: PageSite) => Promise<void>>> = {
  empty: async (site) => {
    await answerMap(site, (seconds) => mapReport([], [], seconds));
    await site.open('#map');
    await site.page.getByText('No connections yet.').waitFor();
  },
  loading: async ({ page, agent }) => {
    await page.route(MAP, () => undefined);
    await page.goto(`${agent.url}/#map`);
    await page.getByText('The first values are being collected.').waitFor();
  },
  'loading, with the boxes of an earlier visit': async (site) => {
    await STATES['healthy']?.(site);
    await site.page.route(MAP, () => undefined);
    await site.page.reload();
    await site.page.getByText('Boxes from your last visit are shown in grey.').waitFor();
  },
  healthy: async (site) => {
    await answerMap(site, (seconds) => shopReport(seconds));
    await site.open('#map');
    // Events of other tests may add edges in trouble.
    await site.page.locator('.node[aria-label^="checkout,"]').waitFor();
  },
  stale: async (site) => {
    await STATES['healthy']?.(site);
    await site.page.context().setOffline(true);
    await site.page.locator('main.stale').waitFor();
  },
  'in trouble': async (site) => {
    await answerMap(site, inTrouble);
    await site.open('#map');
    await site.page.locator('.tag.alert').first().waitFor();
  },
  'with a chosen edge': async (site) => {
    await STATES['in trouble']?.(site);
    await site.page.getByRole('button', { name: REFUSED }).first().press('Enter');
    await site.page.getByRole('complementary', { name: 'Selection' }).waitFor();
  },
  'with a chosen box': async (site) => {
    await STATES['in trouble']?.(site);
    await site.page.locator('.node[aria-label^="checkout,"]').press('Enter');
    await site.page.getByRole('complementary', { name: 'Selection' }).waitFor();
  },
  'only trouble': async (site) => {
    await STATES['in trouble']?.(site);
    await site.page.getByLabel('Only trouble').check();
    await site.page.locator('.node.dim').first().waitFor();
  },
  'by namespace': async (site) => {
    await answerMap(site, (seconds) => largeReport(LARGE, seconds));
    await site.open('#map');
    await site.page.locator('.node.group').first().waitFor();
  },
  'as cards on a phone': async (site) => {
    await site.page.setViewportSize(PHONE);
    await answerMap(site, inTrouble);
    await site.open('#map');
    const card = site.page.locator('.edge-cards > .alert', { hasText: REFUSED });
    await card.getByRole('button').click();
    await card.locator('.chart').waitFor();
  },
};

/** Tests that axe-core has no serious or critical finding. */
export function testAccess(site: PageSite): void {
  it.each(Object.entries(STATES))('has an accessible map: %s', async (state, reach) => {
    const { page, complaints } = site;
    await site.useFlows();
    await reach(site);
    await expectAccess(page, state);
    // Chromium logs each request that finds no network.
    if (state === 'stale') expect(complaints.splice(0).filter((text) => !text.includes('net::ERR_'))).toEqual([]);
  });

  it('has accessible tabs, on a desk and on a phone', async () => {
    const { page, pair, config } = site;
    await site.useFlows();
    await using _traffic = await startFlowLoop(pair);
    await site.drop();
    // Other tests may cause thousands of rows, and axe-core checks each of them.
    const [client, server] = [pair.a.netns.name, pair.b.netns.name];
    const filters: Readonly<Record<string, string>> = {
      events: `?pod=${server}`,
      flows: `?q=${client}`,
      pods: `?q=${client}`,
    };
    writeFileSync(config, 'probes: { packetlos: true, softirq: { for: 15x } }');
    for (const tab of ['incidents', 'events', 'flows', 'requests', 'pods', 'probes', 'ledger', 'configuration']) {
      await page.setViewportSize(DESK);
      await site.open(`#${tab}${filters[tab] ?? ''}`);
      await page
        .locator(
          tab === 'configuration' ? '.faults' : ['incidents', 'requests'].includes(tab) ? 'main section' : 'main table',
        )
        .first()
        .waitFor();
      if (['events', 'flows'].includes(tab)) await page.locator('button.row').first().click();
      if (tab === 'pods') await page.locator('button.toggle').first().click();
      await expectAccess(page, tab);
      await page.setViewportSize(PHONE);
      await expectAccess(page, `${tab} on a phone`);
    }
    await site.useDefaults();
  });

  it('asks for a token in an accessible way', async () => {
    const { page, complaints } = site;
    await page.route('**/api/v1/**', (route) => route.fulfill({ status: 401, json: { error: 'a token is required' } }));
    await page.goto(`${site.agent.url}/`);
    await page.getByLabel('Token').waitFor();
    await expectAccess(page, 'token');
    expect(complaints.splice(0).filter((text) => !text.includes('status of 401'))).toEqual([]);
  });
}
