import { constants, type PerformanceEntry, PerformanceObserver, performance } from 'node:perf_hooks';
import { getHeapSpaceStatistics, getHeapStatistics } from 'node:v8';
import { type Format, renderHead } from '#collectors/exposition.ts';
import { renderLabels } from '#collectors/labels.ts';
import { formatNumber } from '#collectors/number_text.ts';
import type { TextWriter } from '#collectors/text_writer.ts';
import { Descriptors, parseOpenFilesLimit } from '#sources/procfs/fd.ts';
import { readText } from '#sources/procfs/read.ts';

type Type = 'counter' | 'gauge' | 'histogram';
/** Suffix of the metric name, labels, and value. */
type Sample = readonly [suffix: string, labels: Readonly<Record<string, string>>, value: number];

interface Family {
  readonly name: string;
  readonly type: Type;
  readonly help: string;
  readonly samples: readonly Sample[];
}

const PROC = '/proc';
const SELF = `${PROC}/self`;
const KIB = 1024;
const MICROSECONDS = 1e-6;
const MILLISECONDS = 1e-3;

/** Upper bounds of the buckets in seconds, as in prom-client. */
const GC_BOUNDS = [0.001, 0.01, 0.1, 1, 2, 5];

const GC_KINDS: ReadonlyMap<number, string> = new Map([
  [constants.NODE_PERFORMANCE_GC_MAJOR, 'major'],
  [constants.NODE_PERFORMANCE_GC_MINOR, 'minor'],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, 'incremental'],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, 'weakcb'],
]);

interface Durations {
  /** Counts by bucket; the last one is for values above all bounds. */
  readonly counts: number[];
  seconds: number;
}

/** An entry of type `gc` from node:perf_hooks. */
type GcEntry = PerformanceEntry & { readonly detail: { readonly kind: number } };

/** Undocumented functions of Node.js that prom-client also uses. */
interface Internals {
  _getActiveHandles?(): readonly object[];
  _getActiveRequests?(): readonly object[];
}

/**
 * Metrics of this process, with the names that prom-client uses (https://github.com/siimon/prom-client). They are
 * measured during each scrape, so that no timer has to wake the process. Garbage collections are the exception: Node.js
 * reports each one when it happens.
 */
export class ProcessMetrics implements Disposable {
  readonly #collections = new Map<string, Durations>();
  readonly #observer: PerformanceObserver;
  readonly #descriptors = new Descriptors(PROC);
  /** Soft limit of open file descriptors when the process started. */
  readonly #descriptorsMax = parseOpenFilesLimit(readText(`${SELF}/limits`) ?? '');
  #lagSeconds = 0;

  constructor() {
    this.#observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        const { detail, duration } = entry as GcEntry;
        const kind = GC_KINDS.get(detail.kind);
        if (kind !== undefined) this.#collected(kind, duration * MILLISECONDS);
      }
    });
    this.#observer.observe({ entryTypes: ['gc'] });
  }

  write(writer: TextWriter, format: Format): void {
    // The metrics are written as a single string. Caching rendered parts would not help, because the values differ each
    // time.
    let text = '';
    for (const { samples, ...family } of this.read()) {
      if (samples.length === 0) continue;
      text += renderHead(family, format);
      for (const [suffix, labels, value] of samples) {
        const rendered = renderLabels(labels);
        text += `${family.name}${suffix}${rendered === '' ? '' : `{${rendered}}`} ${formatNumber(value)}\n`;
      }
    }
    writer.text(text);
  }

  /** Returns the families in the order of the page. A family that cannot be read has no samples. */
  read(): readonly Family[] {
    this.#measureLag();
    // process.memoryUsage() would also read /proc for the resident size, which is not needed here.
    const heap = getHeapStatistics();
    const spaces = getHeapSpaceStatistics().map((space) => ({
      ...space,
      space: space.space_name.replace('_space', ''),
    }));
    const { _getActiveHandles, _getActiveRequests } = process as Internals;
    const [major = '', minor = '', patch = ''] = process.versions.node.split('.');
    return [
      ...cpu(),
      gauge('process_start_time_seconds', 'Start time of the process since unix epoch in seconds.', startSeconds()),
      ...memory(),
      gauge('process_open_fds', 'Number of open file descriptors.', this.#descriptors.countOwn()),
      gauge('process_max_fds', 'Maximum number of open file descriptors.', this.#descriptorsMax),
      gauge('nodejs_eventloop_lag_seconds', 'Lag of event loop in seconds.', this.#lagSeconds),
      counter(
        'nodejs_eventloop_active_seconds_total',
        'Time in which the event loop was not waiting.',
        performance.eventLoopUtilization().active * MILLISECONDS,
      ),
      counter(
        'nodejs_eventloop_iterations_total',
        'Iterations of the event loop.',
        performance.nodeTiming.uvMetricsInfo.loopCount,
      ),
      byType(
        'resources',
        'Number of active resources that keep the event loop alive.',
        process.getActiveResourcesInfo(),
      ),
      byType('handles', 'Number of active libuv handles.', classes(_getActiveHandles?.call(process))),
      byType('requests', 'Number of active libuv requests.', classes(_getActiveRequests?.call(process))),
      gauge('nodejs_heap_size_total_bytes', 'Process heap size from Node.js in bytes.', heap.total_heap_size),
      gauge('nodejs_heap_size_used_bytes', 'Process heap size used from Node.js in bytes.', heap.used_heap_size),
      gauge('nodejs_external_memory_bytes', 'Node.js external memory size in bytes.', heap.external_memory),
      ...(['total', 'used', 'available'] as const).map((what) => {
        const member = what === 'total' ? 'space_size' : (`space_${what}_size` as const);
        return {
          name: `nodejs_heap_space_size_${what}_bytes`,
          type: 'gauge' as const,
          help: `Process heap space size ${what} from Node.js in bytes.`,
          samples: spaces.map((one) => ['', { space: one.space }, one[member]] as const),
        };
      }),
      {
        name: 'nodejs_version_info',
        type: 'gauge',
        help: 'Node.js version info.',
        samples: [['', { version: process.version, major, minor, patch }, 1]],
      },
      this.#durations(),
    ];
  }

  [Symbol.dispose](): void {
    this.#observer.disconnect();
  }

  /** Measures how late the event loop runs work that is due. The result appears on the next page. */
  #measureLag(): void {
    const startMs = performance.now();
    setImmediate(() => {
      this.#lagSeconds = (performance.now() - startMs) * MILLISECONDS;
    });
  }

  #collected(kind: string, seconds: number): void {
    const known = this.#collections.get(kind) ?? {
      counts: new Array<number>(GC_BOUNDS.length + 1).fill(0),
      seconds: 0,
    };
    this.#collections.set(kind, known);
    const index = GC_BOUNDS.findIndex((bound) => seconds <= bound);
    const place = index < 0 ? GC_BOUNDS.length : index;
    known.counts[place] = (known.counts[place] ?? 0) + 1;
    known.seconds += seconds;
  }

  #durations(): Family {
    const samples = [...this.#collections].flatMap(([kind, { counts, seconds }]) => {
      let count = 0;
      const buckets = counts.map((more, index): Sample => {
        count += more;
        return ['_bucket', { le: String(GC_BOUNDS[index] ?? '+Inf'), kind }, count];
      });
      return [...buckets, ['_sum', { kind }, seconds] as const, ['_count', { kind }, count] as const];
    });
    return {
      name: 'nodejs_gc_duration_seconds',
      type: 'histogram',
      help: 'Garbage collection duration by kind, one of major, minor, incremental or weakcb.',
      samples,
    };
  }
}

function counter(name: string, help: string, value: number): Family {
  return { name, type: 'counter', help, samples: [['', {}, value]] };
}

function gauge(name: string, help: string, value: number | undefined): Family {
  return { name, type: 'gauge', help, samples: value === undefined ? [] : [['', {}, value]] };
}

function byType(what: string, help: string, types: readonly string[]): Family {
  const counts = new Map<string, number>();
  for (const type of types) counts.set(type, (counts.get(type) ?? 0) + 1);
  return {
    name: `nodejs_active_${what}`,
    type: 'gauge',
    help,
    samples: [...counts].map(([type, count]) => ['', { type }, count]),
  };
}

function classes(objects: readonly object[] = []): string[] {
  return objects.map((one) => one.constructor?.name ?? 'Object');
}

function cpu(): Family[] {
  const { user, system } = process.cpuUsage();
  return [
    counter('process_cpu_user_seconds_total', 'Total user CPU time spent in seconds.', user * MICROSECONDS),
    counter('process_cpu_system_seconds_total', 'Total system CPU time spent in seconds.', system * MICROSECONDS),
    counter(
      'process_cpu_seconds_total',
      'Total user and system CPU time spent in seconds.',
      (user + system) * MICROSECONDS,
    ),
  ];
}

function startSeconds(): number {
  return Math.round(performance.timeOrigin * MILLISECONDS);
}

/** Reads sizes from /proc/self/status, which reports them in KiB (man 5 proc). */
function memory(): Family[] {
  const status = readText(`${SELF}/status`) ?? '';
  const bytes = (field: string) => {
    const kibibytes = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
    return kibibytes === undefined ? undefined : Number(kibibytes) * KIB;
  };
  return [
    gauge('process_resident_memory_bytes', 'Resident memory size in bytes.', bytes('VmRSS')),
    gauge('process_virtual_memory_bytes', 'Virtual memory size in bytes.', bytes('VmSize')),
    gauge('process_heap_bytes', 'Process heap size in bytes.', bytes('VmData')),
  ];
}
