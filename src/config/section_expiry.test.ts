import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Files } from '#files/files.ts';
import { PROBES } from '#probes/index.ts';
import type { TimedSection } from './document.ts';
import { ConfigReader } from './load.ts';
import { SectionExpiry } from './section_expiry.ts';

const reader = new ConfigReader(PROBES);
const START = Date.UTC(2026, 10, 21, 3);

let directory: string;
/** Time of both clocks, the wall clock and the monotonic clock, in milliseconds. */
let now: number;
let monotonic: number;
let warnings: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'clocks-'));
  now = START;
  monotonic = 5_000_000;
  warnings = [];
  boot('5cd2a1f4-6a43-4c2c-a2a9-0f6f8f0e6f00');
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

function open(folder = directory): Promise<SectionExpiry> {
  return SectionExpiry.open({
    directory: folder,
    files: new Files(),
    proc: join(directory, 'proc'),
    warn: (message) => warnings.push(message),
    wall: () => now,
    monotonic: () => monotonic,
  });
}

function boot(id: string): void {
  const folder = join(directory, 'proc/sys/kernel/random');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'boot_id'), `${id}\n`);
}

/** Advances both clocks. */
function pass(ms: number): void {
  now += ms;
  monotonic += ms;
}

function sections(...probes: string[]): readonly TimedSection[] {
  return reader.parse(`probes: { ${probes.join(', ')} }`).timed;
}

function leftOf(clocks: SectionExpiry, timed: readonly TimedSection[]): number[] {
  const left = timed.map((section) => clocks.leftOf(section));
  expect(timed.map((section) => (clocks.endOf(section) ?? Number.NaN) - now)).toEqual(left);
  return left;
}

const FILE = 'timed.json';

describe('a section with for', () => {
  it('ends that long after it was first active, across a restart', async () => {
    const timed = sections('udp: { for: 15m }');
    const clocks = await open();
    await clocks.take(timed);
    expect(leftOf(clocks, timed)).toEqual([900_000]);
    pass(895_000);
    const restarted = await open();
    await restarted.take(timed);
    expect(leftOf(restarted, timed)).toEqual([5_000]);
    expect(timed.map((section) => restarted.isOver(section))).toEqual([false]);
    pass(5_000);
    expect(timed.map((section) => restarted.isOver(section))).toEqual([true]);
    const later = await open();
    await later.take(timed);
    expect(timed.map((section) => later.isOver(section))).toEqual([true]);
    expect(warnings).toEqual([]);
  });

  it('starts again when its content changes or it was absent, and not when others change', async () => {
    const clocks = await open();
    await clocks.take(sections('udp: { for: 15m }'));
    pass(60_000);
    await clocks.take(sections('udp: { for: 15m }', 'tcp: { for: 1m }'));
    expect(leftOf(clocks, sections('udp: { for: 15m }', 'tcp: { for: 1m }'))).toEqual([840_000, 60_000]);
    await clocks.take(sections('udp: { for: 15m, metrics: false }'));
    expect(leftOf(clocks, sections('udp: { for: 15m, metrics: false }'))).toEqual([900_000]);
    await clocks.take([]);
    pass(60_000);
    await clocks.take(sections('udp: { for: 15m }'));
    expect(leftOf(clocks, sections('udp: { for: 15m }'))).toEqual([900_000]);
  });

  it.each([
    ['back', -3_600_000],
    ['forward', 3_600_000],
  ])('takes as long where the wall clock is set an hour %s, even while the agent is down', async (_, byMs) => {
    const timed = sections('udp: { for: 15m }');
    const clocks = await open();
    await clocks.take(timed);
    pass(60_000);
    now += byMs;
    expect(leftOf(clocks, timed)).toEqual([840_000]);
    await clocks.take(timed);
    now += byMs;
    const restarted = await open();
    await restarted.take(timed);
    expect(leftOf(restarted, timed)).toEqual([840_000]);
    pass(839_999);
    expect([clocks, restarted].map((some) => timed.map((section) => some.isOver(section)))).toEqual([[false], [false]]);
    pass(1);
    expect([clocks, restarted].map((some) => timed.map((section) => some.isOver(section)))).toEqual([[true], [true]]);
  });

  it.each([
    ['on time', 60_000, 840_000],
    ['set back', -3_600_000, 900_000],
    ['set forward', 3_600_000, -2_700_000],
  ])('goes by the wall clock after a reboot, %s, and never exceeds its duration', async (_, byMs, leftMs) => {
    const timed = sections('udp: { for: 15m }');
    await (await open()).take(timed);
    boot('another');
    monotonic = 0;
    now += byMs;
    const rebooted = await open();
    await rebooted.take(timed);
    expect(leftOf(rebooted, timed)).toEqual([leftMs]);
  });

  it("goes by the wall clock if the boot has no id, or the file is an older agent's", async () => {
    const timed = sections('udp: { for: 15m }');
    boot('');
    await (await open()).take(timed);
    pass(60_000);
    monotonic += 1_000_000;
    const unnamed = await open();
    await unnamed.take(timed);
    expect(leftOf(unnamed, timed)).toEqual([840_000]);
    const { version, ends } = JSON.parse(readFileSync(join(directory, FILE), 'utf8'));
    writeFileSync(join(directory, FILE), JSON.stringify({ version, ends }));
    const older = await open();
    await older.take(timed);
    expect(leftOf(older, timed)).toEqual([840_000]);
    expect(warnings).toEqual([]);
  });

  it('shows one end while both clocks agree within jitter', async () => {
    const timed = sections('udp: { for: 15m }');
    const clocks = await open();
    await clocks.take(timed);
    const ends = [0, 700, -900].map((byMs) => {
      now += byMs;
      return timed.map((section) => clocks.endOf(section));
    });
    expect(ends).toEqual([[START + 900_000], [START + 900_000], [START + 900_000]]);
  });
});

describe('a section with until', () => {
  it('in the past is an error, with all the others, and changes nothing', async () => {
    const clocks = await open();
    const kept = sections('udp: { for: 15m }');
    await clocks.take(kept);
    const text = readFileSync(join(directory, FILE), 'utf8');
    const bad = sections(
      'ip: { for: 1m }',
      'tcp: { until: 2026-11-21T02:59:59Z }',
      'sock: { until: 2026-11-21T03:00:00+00:30 }',
    );
    await expect(clocks.take(bad)).rejects.toThrow(
      'probes.tcp.until: "2026-11-21T02:59:59.000Z" is not allowed; allowed: a time in the future; it is 2026-11-21T03:00:00.000Z now\n' +
        'probes.sock.until: "2026-11-21T02:30:00.000Z" is not allowed; allowed: a time in the future; it is 2026-11-21T03:00:00.000Z now',
    );
    expect(leftOf(clocks, kept)).toEqual([900_000]);
    expect(readFileSync(join(directory, FILE), 'utf8')).toBe(text);
  });

  it('goes by the wall clock, which may be set', async () => {
    const timed = sections('tcp: { until: 2026-11-21T03:30:00Z }');
    const clocks = await open();
    await clocks.take(timed);
    now += 3_600_000;
    expect(timed.map((section) => clocks.isOver(section))).toEqual([true]);
    now -= 3_600_000;
    expect(leftOf(clocks, timed)).toEqual([1_800_000]);
  });

  it('that passed while it was active, or before the agent started, is over without an error', async () => {
    const timed = sections('tcp: { until: 2026-11-21T03:00:05Z }');
    const clocks = await open();
    await clocks.take(timed);
    expect(leftOf(clocks, timed)).toEqual([5_000]);
    pass(6_000);
    await clocks.take([...timed, ...sections('udp: { for: 1m }')]);
    expect(timed.map((section) => clocks.isOver(section))).toEqual([true]);
    rmSync(join(directory, FILE));
    const restarted = await open();
    await restarted.take(timed);
    expect(timed.map((section) => restarted.isOver(section))).toEqual([true]);
    expect(warnings).toEqual(['probes.tcp: expired before the agent started']);
  });
});

describe('the file', () => {
  it('is made when there is something to keep, as a whole, and holds nothing else', async () => {
    const folder = join(directory, 'a');
    const clocks = await open(folder);
    await clocks.take([]);
    expect(existsSync(folder)).toBe(false);
    for (let i = 1; i <= 50; i++) await clocks.take(sections(`udp: { for: ${i}m }`));
    expect(readdirSync(folder)).toEqual([FILE]);
    expect(Object.values(JSON.parse(readFileSync(join(folder, FILE), 'utf8')).ends)).toEqual([START + 3_000_000]);
  });

  it.each([
    ['cut', '{"version":1,"ends":{"00', 'it is damaged'],
    ['of another kind', '[]', 'it is damaged'],
    ['with other things in it', '{"version":1,"ends":{"x":1}}', 'it is damaged'],
    ['with no number in it', `{"version":1,"ends":{"${'0'.repeat(64)}":"soon"}}`, 'it is damaged'],
    ['of another version', '{"version":2,"ends":{}}', 'it is damaged'],
    ['empty', '', 'it is damaged'],
    ['far too long', ' '.repeat(70_000), 'it has more than 65536 bytes'],
  ])('is ignored with a warning where it is %s', async (_, text, why) => {
    writeFileSync(join(directory, FILE), text);
    const clocks = await open();
    expect(warnings).toEqual([`${join(directory, FILE)} is ignored because ${why}; \`for\` starts again now`]);
    const timed = sections('udp: { for: 15m }');
    await clocks.take(timed);
    const again = await open();
    pass(1_000);
    await again.take(timed);
    expect(leftOf(again, timed)).toEqual([899_000]);
    expect(warnings).toHaveLength(1);
  });

  it('that cannot be written is reported, and the time runs all the same', async () => {
    const blocked = join(directory, 'file');
    writeFileSync(blocked, '');
    chmodSync(blocked, 0o400);
    const clocks = await open(join(blocked, 'state'));
    warnings.length = 0;
    const timed = sections('udp: { for: 15m }');
    await clocks.take(timed);
    expect(warnings).toEqual([
      expect.stringMatching(
        /^cannot write .*state\/timed\.json \(ENOTDIR.*\), so `for` starts again when the agent restarts; set --state to a writable directory$/,
      ),
    ]);
    pass(900_000);
    expect(timed.map((section) => clocks.isOver(section))).toEqual([true]);
  });
});
