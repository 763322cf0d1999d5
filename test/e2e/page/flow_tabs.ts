import { expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import type { FlowsReport } from '#api/flows.ts';
import { CLOSED_PORT, OPEN_PORT, startFlowLoop } from '../../support/flow_loop.ts';
import type { HostPair } from '../../support/hosts.ts';
import { eventually } from '../../support/oracle.ts';
import { playScene } from '../../support/scene.ts';
import { type PageSite, PHONE, SLOW_MS } from './site.ts';

const FLOW_OFF = JSON.stringify({ events: { foldBy: 'connection' }, probes: { flow: false } });

/** Gives both namespaces an address that no other test uses, because the owner of a shared address is unknown. */
function addOwnAddresses(pair: HostPair): HostPair['addressB'] {
  const [a, b] = [1, 2].map((host) => `10.77.${process.pid % 256}.${host}`) as [string, string];
  pair.a.netns.ip(`addr replace ${a}/24 dev ${pair.deviceA}`);
  pair.b.netns.ip(`addr replace ${b}/24 dev ${pair.deviceB}`);
  return { ...pair.addressB, ipv4: b };
}

/** Closed by a rule in the client's namespace. */
const DENIED_PORT = 7005;
const NOISE = 600;
/** Sends a SYN that a rule drops, and then datagrams of many ports that a rule of the other namespace drops. */
const DENIED_AND_NOISE = `
one = sock(A)
one.setblocking(False)
one.connect_ex((ADDRESS[B], ${DENIED_PORT}))
time.sleep(0.1)
one.close()
for index in range(${NOISE}):
    noise = sock(A, socket.SOCK_DGRAM)
    noise.sendto(b'x', (ADDRESS[B], 7001))
    noise.close()
    time.sleep(0.005)
`;

/** Returns the past events that match a query, the oldest first. */
async function eventsOf(agent: PageSite['agent'], query: string): Promise<EventRecord[]> {
  const response = await agent.get(`/api/v1/events?since=1h&follow=false&${query}`, { accept: 'application/x-ndjson' });
  const lines = (await response.text()).trim().split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as EventRecord);
}

/** Tests the tabs that show connections. */
export function testFlows(site: PageSite): void {
  it('shows with whom a Pod talks, worst first, with the number that proves the trouble', async () => {
    const { page, pair } = site;
    await site.useFlows();
    const addressB = addOwnAddresses(pair);
    await using _traffic = await startFlowLoop({ a: pair.a, b: pair.b, addressB });
    const [pod, server] = [pair.a.netns.name, pair.b.netns.name];
    const place = `#flows?q=${addressB.ipv4}&role=client`;
    await site.open(place);
    const nameOf = (port: number) => `${pod} → ${addressB.ipv4}:${port} (${server})`;
    const rowTo = (port: number) => page.locator('table.flows > tbody > tr', { hasText: nameOf(port) });
    await rowTo(CLOSED_PORT).getByText('100 % refused, bad').waitFor();
    const names = () => page.locator('table.flows > tbody > tr > th').allInnerTexts();
    expect(await names()).toEqual([nameOf(CLOSED_PORT), nameOf(OPEN_PORT), expect.stringMatching(/^\* all others\s/)]);
    const cell = (port: number, label: string) => rowTo(port).locator(`[data-label="${label}"]`);
    expect(await cell(CLOSED_PORT, 'Failed').getAttribute('class')).toContain('grade-alert');
    expect(await cell(OPEN_PORT, 'Failed').innerText()).toBe('0 %');
    expect(await cell(OPEN_PORT, 'Bytes/s').innerText()).toMatch(/^[\d.]+ [kM]B\/s$/);
    expect(await cell(OPEN_PORT, 'Trouble').innerText()).toBe('–');
    await expect
      .poll(() => rowTo(CLOSED_PORT).getByRole('img').getAttribute('aria-label'), { timeout: SLOW_MS })
      .toMatch(/^Failed connects in the last 5 minutes: .*now 100 %\.$/);
    await page.getByRole('button', { name: 'Bytes/s' }).press('Enter');
    expect((await names())[0]).toBe(nameOf(OPEN_PORT));
    expect(await page.locator('th', { hasText: 'Bytes/s' }).getAttribute('aria-sort')).toBe('descending');
    await page.getByLabel('Only trouble').check();
    await rowTo(OPEN_PORT).waitFor({ state: 'detached' });
    expect(new URL(page.url()).hash).toBe(`${place}&by=bytes&only=trouble`);
    // The other end of the same connections is on this node as well.
    await site.open(`#flows?q=${server}&role=server`);
    await page.getByText(`(${pod}) → ${server}:${OPEN_PORT}`).first().waitFor();
  });

  it('opens an edge with its causes and its records, by keyboard, and agrees with the API', async () => {
    const { page, agent, pair } = site;
    await site.useFlows();
    const addressB = addOwnAddresses(pair);
    const [pod, server] = [pair.a.netns.name, addressB.ipv4];
    {
      await using _traffic = await startFlowLoop({ a: pair.a, b: pair.b, addressB });
      await site.open(`#flows?q=${pod}&role=client`);
      const row = page.getByRole('button', { name: `${pod} → ${server}:${CLOSED_PORT}` });
      await row.press('Enter');
      expect(await row.getAttribute('aria-expanded')).toBe('true');
      await page.locator('.edge').getByText('The other end sent a reset.').waitFor();
      expect(await page.locator('.edge .chart').getAttribute('aria-label')).toMatch(/^Failed connects .*now 100 %\.$/);
      await page.getByRole('button', { name: 'Show connections as they end' }).press('Enter');
      const record = page.locator('.records li').first();
      await record.waitFor();
      expect(await record.innerText()).toMatch(new RegExp(`refused .* → ${server}:${CLOSED_PORT} 0 B sent`));
      await row.press('Enter');
      expect(await page.locator('.edge').count()).toBe(0);
    }
    await page.getByRole('button', { name: `${pod} → ${server}:${OPEN_PORT}` }).press('Enter');
    const { edges } = await agent.json<FlowsReport>(`/api/v1/flows?pod=${pod}&port=${OPEN_PORT}`);
    const total = edges[0]?.connections ?? Number.NaN;
    expect(total).toBeGreaterThan(0);
    await page
      .locator('.edge dd')
      .getByText(`${new Intl.NumberFormat('en').format(total)} connections, `)
      .waitFor();
    // The URL identifies the open edge, so the edge is open again after a reload.
    await page.reload();
    await page.locator('.edge .chart').waitFor();
  });

  it('draws who talks with whom, and leads to a refused connection by keyboard', async () => {
    const { page, pair } = site;
    await site.useFlows();
    await using _traffic = await startFlowLoop({ a: pair.a, b: pair.b, addressB: addOwnAddresses(pair) });
    const [client, server] = [pair.a.netns.name, pair.b.netns.name];
    const titleOf = (port: number) => `${client} → ${server}:${port}`;
    await site.open('#map?detail=workloads');
    for (const name of [client, server]) await page.locator(`.node[aria-label^="${name},"]`).waitFor();
    const first = page.getByRole('complementary', { name: 'Look at first' });
    await first
      .getByRole('button', { name: titleOf(CLOSED_PORT) })
      .getByText('100 % refused, bad')
      .waitFor();
    expect(await first.getByText(titleOf(OPEN_PORT)).count()).toBe(0);
    const line = page.locator(`.wire[aria-label^="${titleOf(CLOSED_PORT)},"]`);
    await line.waitFor({ state: 'attached' });
    const chosen = page.getByRole('complementary', { name: 'Selection' });
    await eventually(async () => {
      await page.keyboard.press('n');
      expect(await chosen.getByRole('heading').first().innerText()).toBe(titleOf(CLOSED_PORT));
    }, SLOW_MS);
    await page.locator('.wire.chosen').waitFor({ state: 'attached' });
    expect(await chosen.innerText()).toContain('connects failed in the last minute. The other end sent a reset.');
    expect(new URL(page.url()).hash).toContain(`${CLOSED_PORT}`);
    await page.keyboard.press('Escape');
    await first.waitFor();
    expect(new URL(page.url()).hash).toBe('#map?detail=workloads');
    // On a phone, the page shows edges as cards instead of a map.
    await page.setViewportSize(PHONE);
    const card = page.locator('.edge-cards > li', { hasText: titleOf(CLOSED_PORT) });
    await card.getByRole('button').click();
    await card.getByText('The other end sent a reset.').waitFor();
    expect(await page.locator('svg.map').count()).toBe(0);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(PHONE.width);
  });

  it('draws a denial from before the page was opened, although another Pod has had many events since', async () => {
    const { page, pair, agent } = site;
    await site.useFlows();
    pair.a.netns.exec(`nft add rule inet t out tcp dport ${DENIED_PORT} drop`);
    const addressB = addOwnAddresses(pair);
    await playScene({ ...pair, addressB }, 'ipv4', DENIED_AND_NOISE);
    const [client, server] = [pair.a.netns.name, pair.b.netns.name];
    await eventually(async () => {
      const drops = await eventsOf(agent, 'type=packet_drop');
      const denied = drops.findIndex(({ pod, dst }) => pod === client && dst === `${addressB.ipv4}:${DENIED_PORT}`);
      expect(denied).toBeGreaterThanOrEqual(0);
      expect(drops.slice(denied).filter(({ pod }) => pod === server).length).toBeGreaterThan(NOISE / 2);
    }, SLOW_MS);
    await site.open('#map?detail=workloads');
    const line = page.locator(`.wire[aria-label^="${client} → ${server}:${DENIED_PORT},"]`);
    await line.waitFor({ state: 'attached' });
    expect(await line.getAttribute('aria-label')).toContain('denied by a rule');
  });

  it('says that the probe flow is off, and how to switch it on', async () => {
    const { page, complaints } = site;
    await site.configure(FLOW_OFF, { flow: 'stopped' });
    for (const tab of ['flows', 'map']) {
      await site.open(`#${tab}`);
      await page
        .getByText('The probe flow is off; switch it on in the configuration: probes: { flow: { enabled: true } }.')
        .waitFor();
      expect(await page.locator('.warning').count(), tab).toBe(0);
    }
    // Chromium logs each response with the status 409.
    expect(complaints.filter((text) => !text.includes('status of 409'))).toEqual([]);
    complaints.length = 0;
    await site.useDefaults();
  });
}
