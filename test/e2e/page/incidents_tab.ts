import { expect, it } from 'vitest';
import type { PageSite } from './site.ts';

export function testIncidents(site: PageSite): void {
  it('shows the events of a connection as one incident, and opens them', async () => {
    const { page, pair } = site;
    await site.openEvents();
    for (let times = 0; times < 3; times++) await site.drop();
    await site.open('');
    const row = site.rowOf(`${pair.addressB.ipv4}:7001 udp`);
    await row.waitFor();
    expect(await row.count()).toBe(1);
    expect(await row.innerText()).toMatch(/open\s+Dropped by a firewall/);
    expect(await row.innerText()).toContain('a firewall or network policy drops the packets');
    await page.getByText(/^\d+ open$/).waitFor();
    await row.getByRole('button').press('Enter');
    await page.locator('.members li').first().waitFor();
    expect(await page.locator('.members').innerText()).toContain('NETFILTER_DROP');
    await page.getByRole('link', { name: 'All events of this connection' }).click();
    await page.locator('table.events button.row').first().waitFor();
    expect(new URL(page.url()).hash).toMatch(/^#events\?text=/);
  });
}
