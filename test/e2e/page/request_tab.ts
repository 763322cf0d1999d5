import { expect, it } from 'vitest';
import { HttpProcess, runHttp } from '../../support/http_traffic.ts';
import { eventually } from '../../support/oracle.ts';
import { type PageSite, PHONE, SLOW_MS } from './site.ts';

const PORT = 8_190;
const flow = { enabled: true };
const RUNNING = expect.stringMatching(/^(?:running|degraded)$/);

/** Tests the tab that shows requests. */
export function testRequests(site: PageSite): void {
  it('says what to switch on for requests, and then shows them by peer with their errors and worst paths', async () => {
    const { page, pair } = site;
    await site.useFlows();
    await site.open('#requests');
    await page.getByText('probes: { http: { enabled: true } }').waitFor({ timeout: SLOW_MS });
    await page.getByText('No requests: nothing counts them.').waitFor();
    await site.configure(JSON.stringify({ probes: { flow, http: { enabled: true, records: { failed: true } } } }), {
      flow: RUNNING,
      http: RUNNING,
    });
    await eventually(async () => expect((await site.agent.get('/api/v1/flows')).status).toBe(200), SLOW_MS);
    await using _server = await HttpProcess.start(pair.b.netns, 'serve', pair.addressB.ipv4, PORT);
    const pod = pair.a.netns.name;
    await site.open(`#requests?q=${pod}&role=client`);
    const row = page.locator('table.requests > tbody > tr', { hasText: `${pod} → ` }).first();
    const talk = () => runHttp(pair.a.netns, 'talk', pair.addressB.ipv4, PORT);
    talk();
    await row.getByText('HTTP/1, at the client').waitFor({ timeout: SLOW_MS });
    talk();
    await row.getByText(/% errors/).waitFor({ timeout: SLOW_MS });
    await row.locator('button.row').click();
    await page.locator('#request-details').getByText(/× 503/).waitFor({ timeout: SLOW_MS });
    await page.getByRole('button', { name: 'Show requests as they are answered' }).click();
    // The stream begins with the button, so the first requests may have been answered before it.
    await eventually(async () => {
      talk();
      const line = new RegExp(`503 GET /error after .*${pair.addressA.ipv4}:\\d+ → ${pair.addressB.ipv4}:${PORT}`);
      expect(await page.locator('.records li').allInnerTexts()).toContainEqual(expect.stringMatching(line));
    }, SLOW_MS);
    await page
      .getByText(/Requests are read on/)
      .first()
      .waitFor();
    await row.locator('button.row').click();
    await page.setViewportSize(PHONE);
    // The card of a row that had no trouble when it was drawn shows the trouble that comes.
    await page.reload();
    await row.waitFor();
    await eventually(async () => {
      talk();
      expect(await row.getByText(/% errors/).isVisible()).toBe(true);
    }, SLOW_MS);
    expect(await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')).toBe(0);
    await site.useDefaults();
  });
}
