import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { AgentReport } from '#api/agent.ts';
import { AgentProcess } from '../../support/agent_process.ts';
import { complaintsOf, launchBrowser } from '../../support/browser.ts';
import { type PageSite, PHONE } from './site.ts';

const TOKEN = 'a-token-of-the-test-0123456789';

/** Tests how the page is delivered, and what it does while the agent does not answer. */
export function testPage(site: PageSite): void {
  it('is small, compressed and cached, and loads nothing from elsewhere', async () => {
    const { agent } = site;
    const html = await agent.get('/');
    expect(html.headers.get('content-security-policy')).toContain("default-src 'none'; script-src 'self'");
    expect(html.headers.get('x-content-type-options')).toBe('nosniff');
    expect(html.headers.get('cache-control')).toBe('no-cache');
    const text = await html.text();
    const files = [...text.matchAll(/(?:href|src)="(\/[^"]+)"/g)].map(([, path = '']) => path);
    expect(files).toHaveLength(2);
    expect(text.replaceAll('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:|<script>|style=/);
    let bytes = 0;
    for (const path of ['/', ...files]) {
      const packed = await agent.get(path, { 'accept-encoding': 'gzip' });
      const plain = await agent.get(path);
      expect(packed.headers.get('content-encoding')).toBe('gzip');
      bytes += Number(packed.headers.get('content-length'));
      expect(await packed.text()).toBe(await plain.text());
      const etag = plain.headers.get('etag') ?? '';
      expect((await agent.get(path, { 'if-none-match': etag })).status, path).toBe(304);
      if (path !== '/') expect(plain.headers.get('cache-control')).toContain('immutable');
    }
    process.stdout.write(`the page: ${bytes} bytes, compressed\n`);
    expect(bytes).toBeLessThan(64 * 1024);
    for (const path of ['/web/index.html', '/web/..%2fmain.js', '/web/main-00000000.js', '/web/main.js']) {
      expect((await agent.get(path)).status, path).toBe(404);
    }
  });

  it('recovers by itself when the agent was unreachable, or restarted', async () => {
    const { page, complaints } = site;
    await site.openEvents();
    const old = await site.drop();
    await site.rowOf(old).waitFor();
    await page.context().setOffline(true);
    await page.getByText(/agent not reachable; data below is from \d\d:\d\d:\d\d/).waitFor();
    const unseen = await site.drop();
    await page.context().setOffline(false);
    await site.rowOf(unseen).waitFor();
    expect([await site.rowOf(unseen).count(), await site.rowOf(old).count()]).toEqual([1, 1]);
    const { host } = new URL(site.agent.url ?? '');
    const unanswered: Promise<string>[] = [];
    page.on('response', (response) => {
      if (response.status() === 503) unanswered.push(response.text());
    });
    await site.agent[Symbol.asyncDispose]();
    await page.getByText('agent not reachable').waitFor();
    await site.serve(host);
    await page.getByText('live', { exact: true }).waitFor();
    const { version } = await site.agent.json<AgentReport>('/api/v1/agent');
    expect(await page.locator('header').innerText()).toContain(version);
    const src = await site.drop();
    await site.rowOf(src).waitFor();
    expect([await site.rowOf(src).count(), await site.rowOf(old).count()]).toEqual([1, 1]);
    // Requests may fail only until the new agent's kernel thread has started.
    expect((await Promise.all(unanswered)).filter((text) => !text.includes('the kernel thread'))).toEqual([]);
    // Chromium logs each request without a response or with a 503 response.
    expect(complaints.filter((text) => !/net::ERR_|status of 503/.test(text))).toEqual([]);
    complaints.length = 0;
  });

  it('shows what to do if the agent does not answer it', async () => {
    const { page, agent, complaints } = site;
    const { port } = new URL(agent.url ?? '');
    await page.goto(`http://page.localhost:${port}/`);
    await page.getByText('is served under the names localhost, 127.0.0.1 and [::1], not page.localhost').waitFor();
    await page.getByText('kubectl -n netsonde port-forward').waitFor();
    expect(await page.getByLabel('Token').count()).toBe(0);
    expect(complaints.filter((text) => !text.includes('status of 403'))).toEqual([]);
    complaints.length = 0;
  });

  it('takes a token on another machine, and forgets it with the tab', async () => {
    const { pair, folder } = site;
    const tokenFile = join(folder, 'token');
    writeFileSync(tokenFile, TOKEN);
    const listen = ['--listen', `${pair.addressB.ipv4}:9102`, '--api-token-file', tokenFile];
    await using cleanup = new AsyncDisposableStack();
    const [closed, elsewhere] = await Promise.all([
      AgentProcess.serve(listen, ['ip', 'netns', 'exec', pair.b.netns.name]).then((started) => cleanup.use(started)),
      launchBrowser({ netns: pair.a.netns.name, folder }).then((started) => cleanup.use(started)),
    ]);
    const remote = await elsewhere.newPage({ viewport: PHONE });
    const heard = complaintsOf(remote);
    await remote.goto(`${closed.url}/`);
    await remote.getByLabel('Token').fill('another-token-0123456789');
    await remote.getByRole('button', { name: 'Open' }).click();
    await remote.getByText('The token is wrong.').waitFor();
    expect(await remote.evaluate('document.documentElement.scrollWidth')).toBe(PHONE.width);
    await remote.getByLabel('Token').fill(TOKEN);
    await remote.getByLabel('Token').press('Enter');
    await remote.getByText('live', { exact: true }).waitFor();
    await remote.reload();
    await remote.getByText('live', { exact: true }).waitFor();
    expect(await remote.evaluate('[localStorage.length, document.cookie]')).toEqual([0, '']);
    expect(heard.filter((text) => !text.includes('status of 401'))).toEqual([]);
  });
}
