import { writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { Trouble } from '#api/trouble.ts';
import { startFlowLoop } from '../../support/flow_loop.ts';
import { eventually } from '../../support/oracle.ts';
import { type PageSite, PHONE, SLOW_MS } from './site.ts';

/** Tests the tabs that show the state of the agent and of Pods. */
export function testStates(site: PageSite): void {
  it('shows what the configuration switches, for how long, and why a configuration is rejected', async () => {
    const { page, config } = site;
    await site.open('#probes');
    const row = page.locator('table.probes tr', { hasText: 'softirq' });
    expect(await row.locator('.state').innerText()).toBe('off');
    writeFileSync(config, 'probes: { softirq: { enabled: true, for: 90s }, packetloss: { budget: 50% } }');
    await row.getByText('running', { exact: true }).waitFor();
    const left = async () => {
      const [, minutes = 0, seconds] = /reverts in (?:(\d+) min ?)?(?:(\d+) s)?/.exec(await row.innerText()) ?? [];
      return 60 * Number(minutes) + Number(seconds ?? 0);
    };
    const before = await left();
    expect(before).toBeGreaterThan(60);
    expect(before).toBeLessThanOrEqual(90);
    // The budget makes the agent reopen this probe, so it may take longer than the other one.
    const measured = page
      .locator('table.probes tr', { hasText: 'packetloss' })
      .filter({ hasText: /of a CPU|measuring/ });
    await measured.waitFor();
    writeFileSync(config, 'probes: { softirq: { for: 15x }, packetlos: true }');
    await page.getByRole('link', { name: 'Configuration' }).click();
    await page.getByRole('heading', { name: 'The last configuration was rejected' }).waitFor();
    const faults = await page.locator('table.faults').innerText();
    expect(faults).toMatch(/probes\.softirq\.for\s+"15x"\s+a duration from 1s to 8760h/);
    expect(faults).toMatch(/probes\.packetlos\s+–\s+unknown key \(did you mean packetloss\?\)/);
    expect(await page.locator('.document').innerText()).toMatch(/packetloss:\n(.*\n)*? +budget: 50%/);
    expect(await page.getByRole('link', { name: 'Configuration rejected' }).count()).toBe(1);
    await page.getByRole('link', { name: 'Probes' }).click();
    await eventually(async () => expect(await left()).toBeLessThan(before), SLOW_MS);
    expect(await left()).toBeGreaterThan(0);
    await site.useDefaults();
  });

  it('shows the account of all events, and the Pods in trouble', async () => {
    const { page, agent, pair } = site;
    await site.open('#ledger');
    const row = page.locator('table.ledger tr', { hasText: 'packetloss' });
    // Other tests may cause events, so some may be pending at any time.
    await row.getByText(/balances|in transit/).waitFor();
    expect(await row.getByText('stdout').count()).toBe(1);
    await page.getByRole('link', { name: 'Pods' }).click();
    await page.getByText('Rates need two readings').waitFor();
    await page.getByLabel('Pod', { exact: true }).fill(pair.b.netns.name);
    const cells = page.locator('table.pods tbody tr', { hasText: pair.b.netns.name });
    // Drops after the first reading are part of a rate, so the test waits until the page has shown that reading.
    await cells.waitFor();
    expect(await cells.count()).toBe(1);
    // This number exceeds the alert's threshold even if the page averages over its longest window and step.
    const lost = 2_000;
    await pair.a.udpSend({ address: pair.addressB.ipv4, port: 7001, count: lost, bytes: 9 });
    await page.getByText(/Rates are averages over the last \d+ s/).waitFor();
    await cells.locator('[data-label="Drops/s"].grade-alert').waitFor();
    const { metrics, entities } = await agent.json<Trouble>('/api/v1/trouble');
    const { values = [] } = entities.find(({ pod }) => pod === pair.b.netns.name) ?? {};
    expect(values[metrics.indexOf('netsonde_packet_drops_total')]).toBeGreaterThanOrEqual(lost);
  });

  it('does not scroll sideways on a phone', async () => {
    const { page, pair, config } = site;
    await page.setViewportSize(PHONE);
    await site.useFlows();
    await using _traffic = await startFlowLoop(pair);
    writeFileSync(config, 'probes: { packetlos: true, softirq: { for: 15x } }');
    for (const tab of ['events', 'flows', 'pods', 'probes', 'ledger', 'configuration']) {
      await site.open(`#${tab}`);
      await page
        .locator(tab === 'configuration' ? '.faults' : `main table`)
        .first()
        .waitFor();
      if (['events', 'flows'].includes(tab)) await page.locator('button.row').first().click();
      expect(await page.evaluate('document.documentElement.scrollWidth'), tab).toBe(PHONE.width);
    }
    await site.useDefaults();
  });
}
