import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { LIMIT } from '#sources/conntrack/reader.ts';
import { TranslatedPeers, whyNoLookup } from './translated_peers.ts';

let proc: string;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
  proc = mkdtempSync(join(tmpdir(), 'translated-'));
  mkdirSync(dirname(join(proc, LIMIT)), { recursive: true });
  writeFileSync(join(proc, LIMIT), '1000\n');
});

afterEach(() => {
  vi.useRealTimers();
  rmSync(proc, { recursive: true });
});

it.skipIf(whyNoLookup() !== undefined)(
  'a look-up that fails is opened again after a minute, and is told once',
  async () => {
    const outcomes = ['no memory', 'no memory', ''];
    const load = vi.fn(async () => {
      const failure = outcomes.shift() ?? '';
      if (failure !== '') throw new Error(failure);
      return { close: () => undefined };
    });
    const warnings: string[] = [];
    const sources = { proc, bpf: { load }, netns: { node: {} }, netlink: {}, files: {} } as never;
    using peers = new TranslatedPeers(sources, {} as never, (message) => warnings.push(message));
    await peers.open();
    await peers.open();
    expect([load.mock.calls.length, peers.isOpen, peers.reason]).toEqual([1, false, 'no memory']);
    vi.advanceTimersByTime(60_000);
    await peers.open();
    vi.advanceTimersByTime(60_000);
    await peers.open();
    expect([load.mock.calls.length, peers.isOpen, peers.reason]).toEqual([3, true, undefined]);
    expect(warnings).toEqual(['connections cannot be looked up: no memory; retrying every 60 s']);
  },
);
