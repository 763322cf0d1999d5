import { expect, it } from 'vitest';
import type { PageSite } from './site.ts';

/** Markup that fits into a process name. */
const HOSTILE = '<img src=x:y>';

/** Browser script that records when the row of each event first appeared, by the event's time. */
const NOTE_ROWS = `{
  window.rowsMs = {};
  const note = () => {
    for (const { title } of document.querySelectorAll('button.row')) window.rowsMs[title] ??= Date.now();
  };
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true });
}`;

export function testEvents(site: PageSite): void {
  it('shows an event without reload, and all of its scene', async () => {
    const { page, pair } = site;
    await site.openEvents();
    await page.evaluate(NOTE_ROWS);
    await page.getByLabel('Text').focus();
    const delays: number[] = [];
    let src = '';
    for (let times = 0; times < 2; times++) {
      src = await site.drop();
      const time = (await site.rowOf(src).getByRole('button').getAttribute('title')) ?? '';
      const seen = (await page.evaluate('window.rowsMs')) as Record<string, number>;
      delays.push((seen[time] ?? Number.NaN) - Date.parse(time));
    }
    process.stdout.write(`events were on the page after ${delays.join(', ')} ms\n`);
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(0);
    expect(await page.evaluate('document.activeElement.type')).toBe('search');
    const row = site.rowOf(src).getByRole('button');
    await row.press('Enter');
    expect(await row.getAttribute('aria-expanded')).toBe('true');
    const scene = await page.locator('.scene').innerText();
    expect(scene).toMatch(/A firewall rule refused the packet.*What to check: The firewall rules.*nft_do_chain/s);
    expect(scene).toContain(pair.b.netns.name);
    // While the table is paused, the open row stays in place.
    const later = await site.drop();
    await page.getByRole('button', { name: /Resume \(\d+ new\)/ }).click();
    await site.rowOf(later).waitFor();
    expect(await page.locator('.scene').count()).toBe(0);
  });

  it('filters events, and keeps the filter in the URL', async () => {
    const { page, pair } = site;
    const { name } = pair.b.netns;
    await site.openEvents();
    await site.rowOf(await site.drop()).waitFor();
    const rows = page.locator('button.row');
    await page.getByLabel('Pod', { exact: true }).fill('nobody');
    await page.getByText(/None of the \d+ events on this page match the filters/).waitFor();
    await page.getByLabel('Pod', { exact: true }).fill(name);
    await rows.first().waitFor();
    await page.getByLabel('Text').fill(`no ${name}`);
    await rows.first().waitFor({ state: 'detached' });
    await page.getByLabel('Text').fill(' NETFILTER_drop');
    await page.getByLabel('Type').selectOption('packet_drop');
    await page.getByLabel('Probe').selectOption('packetloss');
    await page.getByLabel('Severity').selectOption('warning');
    expect(await rows.count()).toBe(await site.rowOf(name).count());
    expect(new URL(page.url()).hash).toBe(
      `#events?pod=${name}&text=+NETFILTER_drop&type=packet_drop&probe=packetloss&severity=warning`,
    );
    await page.reload();
    await site.rowOf(await site.drop()).waitFor();
    expect(await rows.count()).toBe(await site.rowOf(name).count());
    expect(await page.getByLabel('Type').inputValue()).toBe('packet_drop');
    // Visiting another tab must not change the filters of the event tab.
    await page.getByRole('link', { name: 'Probes' }).click();
    await page.getByRole('link', { name: 'Events' }).click();
    expect(await page.getByLabel('Type').inputValue()).toBe('packet_drop');
  });

  it('treats the name of a process as text', async () => {
    const { page, pair } = site;
    await site.open(`#events?text=${encodeURIComponent(HOSTILE)}`);
    pair.a.netns.python(`
import ctypes, socket
ctypes.CDLL(None).prctl(15, b'${HOSTILE}')
try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('${pair.addressB.ipv4}', 7003))
except PermissionError: pass
  `);
    const row = site.rowOf(`${pair.addressB.ipv4}:7003`).first();
    await row.getByRole('button').click();
    expect(await page.locator('.scene').innerText()).toContain(HOSTILE);
    expect(await page.locator('img').count()).toBe(0);
  });
}
