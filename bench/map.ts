import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import express from 'express';
import type { Browser, Page } from 'playwright-core';
import type { MapReport } from '#api/map.ts';
import { servePage } from '#web/serve.ts';
import { launchBrowser } from '../test/support/browser.ts';
import { LARGE, largeReport, MAP_START_MS } from '../test/support/map_reports.ts';
import { median, quantile, type Row, spreadOf } from './measure.ts';

/**
 * Speed of the page's map, in headless Chromium: 200 workloads and 1,000 edges, all drawn at once, and the namespaces
 * that the page shows first.
 */

const VIEWPORT = { width: 1280, height: 800 };
const PAINTS = 7;
/** Movements of the pointer while the picture is dragged. */
const MOVES = 300;
const DRAG_PIXELS = 240;
const PAINT_MOST_MS = 1_000;
const FRAME_MOST_MS = 16;
const LONG_FRAME_MOST_MS = 33;
/** Chromium draws a frame as soon as the last one is done, so that a frame's time is that of the work. */
const WITHOUT_LIMIT = ['--disable-frame-rate-limit', '--disable-gpu-vsync'];

/** Browser script that notes when the picture has been painted, in milliseconds after the page was requested. */
const NOTE_PICTURE = `new MutationObserver((_changes, observer) => {
  if (document.querySelector('.frame .node .name') === null) return;
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => { window.pictureMs = performance.now(); }));
}).observe(document, { subtree: true, childList: true });`;

/** Browser script that collects the times between frames in which the picture has moved. */
const NOTE_FRAMES = `{
  const map = document.querySelector('svg.map');
  window.frames_ms = [];
  let [last, place] = [performance.now(), map.style.transform];
  const note = (now) => {
    if (map.style.transform !== place) window.frames_ms.push(now - last);
    [last, place] = [now, map.style.transform];
    requestAnimationFrame(note);
  };
  requestAnimationFrame(note);
}`;

export async function benchMap(): Promise<Row[]> {
  await using agent = await startAgent((seconds) => largeReport(LARGE, seconds));
  const browser = await launchBrowser();
  const unlimited = await launchBrowser(undefined, WITHOUT_LIMIT);
  try {
    const drawn = { detail: 'workloads', what: `${LARGE.nodes} workloads and ${LARGE.edges} edges` };
    const first = { detail: '', what: 'the same by namespace' };
    const rows: Row[] = [];
    for (const { detail, what } of [drawn, first]) {
      const url = `${agent.url}/#map?detail=${detail}`;
      rows.push(await paint(browser, url, what));
      rows.push(...(await pan(unlimited, url, what, true)), ...(await pan(browser, url, what, false)));
    }
    return rows;
  } finally {
    await Promise.all([browser.close(), unlimited.close()]);
  }
}

async function paint(browser: Browser, url: string, what: string): Promise<Row> {
  const times: number[] = [];
  for (let run = 0; run < PAINTS; run++) {
    const page = await opened(browser, url);
    times.push(await page.evaluate<number>('window.pictureMs'));
    await page.close();
  }
  const spread = spreadOf(times);
  const bound = { atMost: PAINT_MOST_MS };
  return { bench: 'map', what: `${what}: picture after the request`, value: spread.median, unit: 'ms', spread, bound };
}

/** Each page has its own profile, so that no file and no place of a box is known from before. */
async function opened(browser: Browser, url: string): Promise<Page> {
  const page = await browser.newPage({ viewport: VIEWPORT });
  await page.addInitScript(NOTE_PICTURE);
  await page.goto(url);
  await until(page, 'window.pictureMs !== undefined');
  return page;
}

/** Waits for an expression to be true. The page's policy forbids Playwright's own way, which evaluates text in the page. */
async function until(page: Page, expression: string): Promise<void> {
  while (!(await page.evaluate<boolean>(expression))) await wait(20);
}

async function pan(browser: Browser, url: string, what: string, isUnlimited: boolean): Promise<Row[]> {
  const page = await opened(browser, url);
  await until(page, `document.querySelector('.mapview > .quiet').textContent.includes('averages')`);
  const { x, y, width, height } = (await page.locator('.frame').boundingBox()) ?? { x: 0, y: 0, width: 0, height: 0 };
  await page.mouse.move(x + width / 2, y + height / 2);
  await page.mouse.down();
  await page.evaluate(NOTE_FRAMES);
  for (let move = 0; move < MOVES; move++) {
    const turn = (move / MOVES) * 6 * Math.PI;
    await page.mouse.move(x + width / 2 + Math.sin(turn) * DRAG_PIXELS, y + height / 2 + (1 - Math.cos(turn)) * -90);
  }
  await page.mouse.up();
  const times = await page.evaluate<number[]>('window.frames_ms');
  await page.close();
  const name = `${what}: frame while dragging, ${isUnlimited ? 'without' : 'with'} the limit of 60 per second`;
  const row = (part: string, value: number, atMost: number): Row => ({
    bench: 'map',
    what: `${name}, ${part} of ${times.length}`,
    value,
    unit: 'ms',
    ...(isUnlimited ? { bound: { atMost } } : {}),
  });
  return [row('median', median(times), FRAME_MOST_MS), row('95 %', quantile(times, 0.95), LONG_FRAME_MOST_MS)];
}

/** Serves the built page under its own policy, with a map that grows with time, and nothing else to show. */
async function startAgent(
  reportAt: (seconds: number) => MapReport,
): Promise<AsyncDisposable & { readonly url: string }> {
  const startMs = performance.now();
  const elapsedMs = () => performance.now() - startMs;
  const now = () => new Date(MAP_START_MS + elapsedMs()).toISOString();
  const app = express();
  const answers: Readonly<Record<string, () => object>> = {
    agent: () => ({ node: 'node-a', version: '', kernel: '', started: now(), now: now(), kubernetes: null }),
    map: () => reportAt(elapsedMs() / 1_000),
    flows: () => ({ node: 'node-a', collectedAt: now(), edges: [], omitted: 0, rest: [] }),
    entities: () => ({ entities: [] }),
    probes: () => ({ probes: [] }),
    sinks: () => ({ sinks: [] }),
    config: () => ({ successful: true, rejected: null }),
  };
  for (const [name, answer] of Object.entries(answers)) {
    app.get(`/api/v1/${name}`, (_request, response) => void response.json(answer()));
  }
  app.get('/api/v1/events', (_request, response) => void response.type('text/event-stream').flushHeaders());
  app.get(['/', '/web/:name'], servePage);
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}
