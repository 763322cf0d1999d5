import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A file that may read the wall clock. */
export interface Place {
  /** Number of times that the file reads the clock. */
  readonly reads: number;
  readonly why: string;
}

/**
 * Files that may read the wall clock, by path relative to the root of the repository. All other code uses a monotonic
 * clock.
 */
export const PLACES: Readonly<Record<string, Place>> = {
  'bench/series.ts': { reads: 1, why: 'the date of a measurement' },
  'bench/sizing.ts': { reads: 1, why: 'the date of a measurement' },
  'src/agent/agent.ts': { reads: 1, why: 'displays when the agent was started' },
  'src/agent/config_loop.ts': { reads: 2, why: 'when a document was applied or rejected, for people and for alerts' },
  'src/agent/log_loki.ts': { reads: 1, why: 'the time of a line of the log' },
  'src/collectors/supervisor.ts': {
    reads: 3,
    why: 'since when a probe is in its state, and when it is tried again, for people',
  },
  'src/commands/check.ts': { reads: 2, why: '`until` is a time of the wall clock' },
  'src/commands/reach.ts': { reads: 1, why: 'the start of a trial is compared with the times of events' },
  'src/config/section_expiry.ts': { reads: 1, why: '`until` is a time of the wall clock, and `for` is shown as one' },
  'src/delivery/sink_queue.ts': {
    reads: 4,
    why: 'since when a sink fails, when it is tried again and when it refused, for people',
  },
  'src/delivery/sinks/file.ts': { reads: 1, why: 'the age of a file that an earlier run made, once' },
  'src/events/bus.ts': { reads: 1, why: 'the name of a run, which differs from that of the run before' },
  'src/http/front.ts': { reads: 1, why: 'whether the certificate of a client is valid' },
  'src/http/web_file.ts': {
    reads: 3,
    why: 'whether a certificate is valid, and when a file was taken, for people and for alerts',
  },
  'src/http/event_stream.ts': { reads: 1, why: '`since` is compared with the timestamps of events' },
  'src/http/flows.ts': { reads: 1, why: '`since` is compared with the timestamps of records' },
  'src/http/incidents.ts': { reads: 1, why: '`since` is compared with the timestamps of events' },
  'src/http/requests.ts': { reads: 1, why: '`since` is compared with the timestamps of records' },
  'src/kernel/collection.ts': { reads: 1, why: 'when a page was collected, for people' },
  'src/kernel/counters.ts': { reads: 1, why: 'when counters were read, for people' },
  'src/kernel/discovery_status.ts': { reads: 2, why: 'since when discovery is in its state, for people' },
  'src/kubernetes/rejection.ts': { reads: 1, why: 'the timestamp of a Kubernetes event' },
  'src/probes/changes/change_teller.ts': { reads: 1, why: 'the timestamp of an event' },
  'src/probes/conntrack/conntrack_pressure.ts': { reads: 1, why: 'the timestamp of an event' },
  'src/probes/flow/flow_edges.ts': { reads: 1, why: 'when rows were collected, for people' },
  'src/probes/tooluse/tooluse.ts': { reads: 1, why: 'the timestamp of an event' },
  'src/probe/peer_edges.ts': { reads: 1, why: 'when rows were collected, for people' },
  'src/probes/lifecycle.ts': { reads: 1, why: 'the timestamp of an event' },
  'src/probes/tcpsummary/accept_queue_events.ts': { reads: 1, why: 'the timestamp of an event' },
  'src/server.ts': { reads: 1, why: 'what the clock of the node says, for people' },
  'src/web/page/app.tsx': { reads: 1, why: 'how long ago a time of the wall clock is' },
  'src/web/page/store.ts': {
    reads: 3,
    why: 'offset of the browser clock from that of the node, measured again with each answer',
  },
  'test/e2e/page/events_tab.ts': { reads: 1, why: 'when a row appeared, compared with the timestamp of its event' },
  'test/support/api_host.ts': { reads: 4, why: 'stands for the agent, and shows the same times' },
  'test/support/first_bursts.ts': { reads: 2, why: 'the times of samples in Prometheus are times of the wall clock' },
  'test/support/web_certificates.ts': { reads: 2, why: 'certificates are valid by the wall clock' },
  'test/shop/apps/cart_service.ts': { reads: 1, why: 'gRPC takes a deadline as a date' },
  'test/shop/shop.ts': { reads: 1, why: 'the creation times of objects in the Kubernetes API' },
  'test/support/containerd.ts': { reads: 1, why: 'gRPC takes a deadline as a date' },
};

const FOLDERS = ['bench', 'bpf-napi/lib', 'scripts', 'src', 'test'];
const IS_CODE = /\.tsx?$/;
const IS_TEST = /\.test\.tsx?$/;
/**
 * Matches reads of the clock, including references such as `now = Date.now`. `Date()` reads the clock, whereas `new
 * Date(time)` does not.
 */
const READS = /\bDate\s*\.\s*now\b|\bnew\s+Date\b(?!\s*\(\s*[^\s)])|(?<!\bnew\s+)(?<![\w.])Date\s*\(/g;
const COMMENTS_AND_TEXTS = /\/\*[\s\S]*?\*\/|(?<![:'"`\\])\/\/[^\n]*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g;

export interface WallClockSurvey {
  readonly files: number;
  readonly reads: number;
  /** Messages that start with the path of the file. */
  readonly violations: readonly string[];
}

/**
 * Compares the places that read the wall clock with the list. Tests may read it, because they check times that are
 * displayed.
 * @param root root of the repository
 */
export function surveyWallClock(root: string, places: Readonly<Record<string, Place>> = PLACES): WallClockSurvey {
  const files = FOLDERS.flatMap((folder) => codeBelow(root, folder));
  const violations: string[] = [];
  let reads = 0;
  for (const file of files) {
    const found = readsOf(readFileSync(join(root, file), 'utf8'));
    const allowed = places[file]?.reads ?? 0;
    reads += found.length;
    if (found.length > allowed) violations.push(tooManyOf(file, found, allowed));
    if (found.length < allowed)
      violations.push(`${file}: reads the wall clock ${found.length} times, the list says ${allowed}`);
  }
  for (const file of Object.keys(places)) {
    if (!files.includes(file)) violations.push(`${file}: is in the list of scripts/wall_clock.ts, but does not exist`);
  }
  return { files: files.length, reads, violations };
}

function tooManyOf(file: string, lines: readonly number[], allowed: number): string {
  const may = allowed === 0 ? '' : `, and may ${allowed} times`;
  return `${file}: reads the wall clock in line ${lines.join(', ')}${may}; take performance.now() for how long something takes, or add the place with its reason to scripts/wall_clock.ts`;
}

/** Returns the line number of each read. */
function readsOf(text: string): number[] {
  const code = text.replace(COMMENTS_AND_TEXTS, (part) => part.replace(/[^\n]/g, ' '));
  return [...code.matchAll(READS)].map(({ index }) => code.slice(0, index).split('\n').length);
}

function codeBelow(root: string, folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => IS_CODE.test(path) && !IS_TEST.test(path) && !path.includes('node_modules'))
    .map((path) => join(folder, path))
    .sort();
}
