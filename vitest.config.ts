import { defineConfig } from 'vitest/config';
import { pathOfInterpreter } from './test/support/interpreter.ts';

// Processes that tests start inherit it.
process.env['PATH'] = pathOfInterpreter(process.env['PATH'] ?? '');

/** Files that run one after the other, before all others: the guest that boots meanwhile then has the second CPU. */
const ALONE: Readonly<Record<string, string>> = {
  'bpf-napi/test/system.test.ts': 'BPF run times are switched on for the whole machine',
  'test/kernel/adversity.test.ts': 'looks at the resets of every namespace, and floods a ring',
  'test/kernel/conntrack_churn.test.ts': 'reads the tables of all namespaces, for which the probe has half a second',
  'test/kernel/drop_storm.test.ts': 'keeps a CPU busy with drops, all of which must be counted',
  'test/kernel/fd_many.test.ts': 'opens half a million descriptors, which every other agent would count',
  'test/kernel/netiftxlatency.test.ts': 'measures the wait of packets in the kernel',
  'test/kernel/process_table.test.ts': 'compares all processes of the machine',
  'test/kernel/short_pods.test.ts':
    'makes Pods that are gone before they are listed, and unlisted Pods share their room',
  'test/kernel/sock.test.ts': 'compares the orphaned and allocated sockets of the machine',
  'test/kernel/softirq.test.ts': 'looks at the softirqs of the machine, with a limit of events for all',
  'test/kernel/tcp_readers.test.ts': 'counts how often a walk sees connections being made',
  'test/e2e/idle.test.ts': 'counts wake-ups of an agent, which others cause all the time',
  'test/e2e/real_pods.test.ts': 'measures the memory of an agent, which grows with the namespaces of others',
  'test/e2e/loki_agent.test.ts': 'makes 5,000 drops a second, none of which may be lost',
};
const alone = Object.keys(ALONE);

/** A timeout is for tests that hang: speed is measured by `bench`. */
const patient = { pool: 'forks', testTimeout: 240_000, hookTimeout: 240_000 } as const;
/**
 * For tests that share the kernel with everything else on the machine: others hold its locks, and move its counters. The summary names each
 * test that needed the second run. Tests of code alone have none: a property that fails once is a fault.
 */
const SHARED_KERNEL = { retry: 1 } as const;
/**
 * Some tests wait more than they work. Where files share a process (`isolate: false`), modules are loaded once, which halves the CPU time;
 * no module has state. The tests make namespaces, Pods and servers of their own, and look at nothing else.
 */
const together = { ...patient, maxWorkers: 4, sequence: { groupOrder: 2 } } as const;
const single = { ...patient, fileParallelism: false } as const;

export default defineConfig({
  test: {
    reporters: ['default', './test/support/summary_reporter.ts'],
    projects: [
      {
        test: {
          ...together,
          name: 'unit',
          isolate: false,
          include: ['src/**/*.test.ts', 'test/unit/**/*.test.ts', 'test/guest/kernels.test.ts'],
        },
      },
      { test: { ...together, name: 'addon', include: ['bpf-napi/test/*.test.ts'], exclude: alone } },
      {
        test: {
          ...together,
          ...SHARED_KERNEL,
          name: 'kernel',
          isolate: false,
          include: ['test/kernel/*.test.ts', 'test/scenarios/*.test.ts'],
          exclude: alone,
        },
      },
      {
        test: {
          ...together,
          ...SHARED_KERNEL,
          name: 'e2e',
          isolate: false,
          include: ['test/e2e/*.test.ts'],
          exclude: alone,
        },
      },
      { test: { ...single, ...SHARED_KERNEL, name: 'alone', include: alone, sequence: { groupOrder: 1 } } },
      {
        test: {
          ...single,
          name: 'guest',
          include: ['test/guest/guest.test.ts'],
          // The guests boot at the very beginning, beside all others; the tests collect the results.
          globalSetup: ['test/guest/background.ts'],
          sequence: { groupOrder: 3 },
        },
      },
      // Not part of `npm test`.
      { test: { ...single, name: 'soak', include: ['test/soak/*.test.ts'], sequence: { groupOrder: 4 } } },
      { test: { ...single, name: 'image', include: ['test/image/*.test.ts'], sequence: { groupOrder: 5 } } },
    ],
  },
});
