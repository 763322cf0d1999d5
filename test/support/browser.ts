import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';

const CHROMIUM = '/usr/bin/chromium';
const ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/**
 * Starts Chromium with a temporary profile, which is removed when the browser is closed.
 * @param place network namespace in which Chromium runs, and directory for the start script
 * @param more further arguments of Chromium
 */
export function launchBrowser(
  place?: { readonly netns: string; readonly folder: string },
  more: readonly string[] = [],
): Promise<Browser> {
  let executablePath = CHROMIUM;
  if (place !== undefined) {
    executablePath = join(place.folder, 'chromium');
    writeFileSync(executablePath, `#!/bin/sh\nexec ip netns exec ${place.netns} ${CHROMIUM} "$@"\n`);
    chmodSync(executablePath, 0o755);
  }
  return chromium.launch({ executablePath, args: [...ARGUMENTS, ...more] });
}

/** Returns an array that collects the page's console errors and uncaught exceptions. */
export function complaintsOf(page: Page): string[] {
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(`not caught: ${error.message}`));
  return complaints;
}
