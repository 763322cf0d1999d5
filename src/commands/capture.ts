import { hostname } from 'node:os';
import { acceptAll, BpfError, PacketFilter } from 'bpf-napi';
import { visible } from '#core/inert.ts';
import { Unsupported } from '#core/reader.ts';
import { announce } from './announce.ts';
import { type CaptureArguments, parseCapture } from './capture/arguments.ts';
import { CaptureFile, type SourceCounts } from './capture/file.ts';
import { KnownPolicies } from './capture/known_policies.ts';
import { Output, OutputFailure } from './capture/output.ts';
import { PacketSource } from './capture/packet_source.ts';
import { findPlace, netnsIdOf, type Place, RIGHTS_HELP } from './capture/place.ts';
import { captureUntil, type End } from './capture/run.ts';
import type { Source } from './capture/source.ts';

const EPERM = 1;
const EACCES = 13;

/** Runs `netsonde capture`. */
export async function runCapture(args: readonly string[]): Promise<number> {
  const given = parseCapture(args);
  const ended = new AbortController();
  // A second signal ends the process at once.
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => ended.abort({ kind: 'stopped' } satisfies End));
  }
  return await capture(given, ended, (line) => void process.stderr.write(`netsonde: ${visible(line)}\n`));
}

/**
 * Captures packets until the signal is aborted or a limit is reached.
 * @param say reports what the command does: each use with its target and filter, and the counts at the end
 * @returns the exit code: 1 if packets are missing in the file because it could not be written
 * @throws if the capture cannot start
 */
async function capture(given: CaptureArguments, ended: AbortController, say: (line: string) => void): Promise<number> {
  const { targets, filter: expression, snap, durationMs, packets, bytes, agent } = given;
  // Invalid filters are reported even if the Pod does not exist.
  const filter = expression === undefined ? undefined : new PacketFilter(expression, snap);
  const places: Place[] = [];
  for (const target of targets) places.push(await findPlace(target, agent, ended.signal));
  if (new Set(places.map(({ inum }) => inum)).size < places.length) {
    throw new Error('--peer: both are in the same network namespace');
  }
  const record = await explainingRights(() => recordUse(given, places));
  using policies = given.drops ? new KnownPolicies(agent) : undefined;
  using sources = new Sources(policies);
  await explainingRights(() => sources.open(given, places, filter, say));
  await using output = await Output.open(given.file, ended.signal);
  const file = new CaptureFile(output, { bytes, packets }, snap, expression);
  const timer = setTimeout(() => ended.abort({ kind: 'time' } satisfies End), durationMs);
  say(describe(given, places));
  say(record);
  for (const { note } of places) if (note !== undefined) say(note);
  let end: End;
  try {
    await file.begin(`${describe(given, places)}; ${record}. Times are those of the clock of ${visible(hostname())}.`);
    end = await captureUntil(sources.all, file, ended.signal);
  } catch (error) {
    if (!(error instanceof OutputFailure)) throw error;
    end = { kind: 'failed', failure: error };
  }
  clearTimeout(timer);
  // A reader that does not read must not hold up the end.
  ended.abort(end);
  const counts = new Map(sources.all.map((source) => [source.name, source.counts()]));
  const isWhole = await finish(file, counts, end);
  for (const line of summary(file, output.bytes, counts, end)) say(line);
  for (const policy of policies?.used ?? []) say(`packets were dropped: ${policy}`);
  return isWhole ? 0 : 1;
}

/** Announces the capture to the agent, and returns whether it was recorded, as a sentence. */
async function recordUse(given: CaptureArguments, places: readonly Place[]): Promise<string> {
  const { agent, filter } = given;
  const reason = await announce(agent, {
    command: 'capture',
    netns: places.map((place) => String(netnsIdOf(place))),
    request: requestOf(given),
    ...(filter === undefined ? {} : { filter }),
  });
  return reason === undefined
    ? 'the agent has recorded this use as an event'
    : `no agent has recorded this use: ${visible(reason)}`;
}

/** Sources that are closed together. */
class Sources implements Disposable {
  readonly all: Source[] = [];
  readonly #policies: KnownPolicies | undefined;

  /** @param policies defined for a capture of drops */
  constructor(policies: KnownPolicies | undefined) {
    this.#policies = policies;
  }

  async open(
    { snap }: CaptureArguments,
    places: readonly Place[],
    filter: PacketFilter | undefined,
    say: (line: string) => void,
  ): Promise<void> {
    if (this.#policies !== undefined) {
      const { DropSource } = await import('./capture/drop_source.ts');
      const source = await DropSource.open(places, snap, filter, this.#policies);
      this.all.push(source);
      if (source.lacks !== '') say(source.lacks);
      return;
    }
    const program = filter?.kernelProgram ?? acceptAll(snap);
    for (const place of places) this.all.push(new PacketSource(place, program));
  }

  [Symbol.dispose](): void {
    for (const source of this.all) source[Symbol.dispose]();
  }
}

/** Adds to an error about a missing right what to do about it. */
async function explainingRights<T>(open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    const isRefused = error instanceof BpfError && (error.errno === EPERM || error.errno === EACCES);
    if (isRefused || error instanceof Unsupported) throw new Error(`${(error as Error).message}; ${RIGHTS_HELP}`);
    throw error;
  }
}

/** Writes the statistics, and returns whether all that was to be written is in the file. */
async function finish(file: CaptureFile, counts: ReadonlyMap<string, SourceCounts>, end: End): Promise<boolean> {
  if (end.kind === 'failed' && end.failure.isReaderGone) return true;
  try {
    await file.end(counts);
  } catch (error) {
    if (!(error instanceof OutputFailure)) throw error;
    return error.isReaderGone;
  }
  return end.kind !== 'failed';
}

/** Describes what is captured, without the places and the filter. */
function requestOf({ drops, snap, durationMs }: CaptureArguments): string {
  return `${drops ? 'dropped packets' : 'packets'}, ${snap} bytes of each, for at most ${durationMs / 1_000} s`;
}

function describe({ drops, filter, snap, durationMs }: CaptureArguments, places: readonly Place[]): string {
  const what = drops ? 'dropped packets' : 'packets';
  const names = places.map(({ name, inum }) => `${visible(name)} (net:[${inum}])`).join(' and ');
  const condition = filter === undefined ? '' : ` that match \`${visible(filter)}\``;
  return `capture of ${what} of ${names}${condition}, ${snap} bytes of each, for at most ${durationMs / 1_000} s, by user ${process.getuid?.()}`;
}

function summary(
  file: CaptureFile,
  bytes: number,
  counts: ReadonlyMap<string, SourceCounts>,
  end: End,
): readonly string[] {
  const all = [...counts.values()];
  const received = all.reduce((sum, count) => sum + count.received, 0);
  const dropped = all.reduce((sum, count) => sum + count.dropped, 0);
  const left = received - dropped - file.packets;
  return [
    `the capture ended because ${reasonOf(end)}`,
    `packets: ${received} received, ${file.packets} written (${bytes} bytes), ${dropped} lost because they came faster than they were written, ${left} left when the capture ended`,
  ];
}

function reasonOf(end: End): string {
  switch (end.kind) {
    case 'time':
      return 'its time is over';
    case 'stopped':
      return 'it was stopped';
    case 'count':
      return 'it has the number of packets that --count gives';
    case 'size':
      return 'its file has the size that --max gives';
    case 'gone':
      return `the network devices of ${end.name} are gone`;
    case 'failed':
      return end.failure.message;
  }
}
