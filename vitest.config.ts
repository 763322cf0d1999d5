import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { compileCache } from './test/support/compile_cache.ts';
import { pathOfInterpreter } from './test/support/interpreter.ts';

// Processes that tests start inherit these variables.
process.env['PATH'] = pathOfInterpreter(process.env['PATH'] ?? '');
process.env['NODE_COMPILE_CACHE'] = compileCache();

/**
 * Test files that run one after the other before all other files, with the reason. The guest that boots meanwhile can
 * then use the second CPU.
 */
const ALONE: Readonly<Record<string, string>> = {
  'bpf-napi/test/system.test.ts': 'enables BPF run times for the whole machine',
  'test/kernel/adversity.test.ts': 'checks the resets of every namespace, and floods a ring',
  'test/kernel/conntrack_churn.test.ts': 'reads the tables of all namespaces within half a second',
  'test/kernel/drop_storm.test.ts': 'keeps a CPU busy with drops, all of which must be counted',
  'test/kernel/fd_many.test.ts': 'opens half a million descriptors, which every other agent would count',
  'test/kernel/flow_exact.test.ts': 'needs rows that the namespaces of other tests would share',
  'test/kernel/netiftxlatency.test.ts': 'measures how long packets wait in the kernel',
  'test/kernel/process_table.test.ts': 'compares all processes of the machine',
  'test/kernel/short_pods.test.ts':
    'creates Pods that end before they are listed, and all unlisted Pods share one event limit',
  'test/kernel/sock.test.ts': 'compares the orphaned and allocated sockets of the machine',
  'test/kernel/softirq.test.ts': 'checks the softirqs of the whole machine, which share one event limit',
  'test/kernel/tcp_readers.test.ts': 'counts how often a walk sees new connections',
  'test/kernel/flow_copies.test.ts': 'slows down every TCP socket of the machine',
  'test/e2e/idle.test.ts': 'counts the wakeups of an agent, which other tests cause, too',
  'test/e2e/real_pods.test.ts': 'measures the memory of an agent, which grows with the namespaces of others',
  'test/e2e/loki_agent.test.ts': 'makes 5,000 drops a second, none of which may be lost',
};
const alone = Object.keys(ALONE);

/** Timeouts that only end tests that hang. `bench` measures speed. */
const patient = { pool: 'forks', testTimeout: 240_000, hookTimeout: 240_000 } as const;
/**
 * For tests on the real kernel, whose locks other processes hold and whose counters they change. The summary names each
 * test that needed another run. Unit tests are not retried, because a property that fails once is a bug.
 */
const SHARED_KERNEL = { retry: 2 } as const;
/**
 * Several files run in parallel, because tests wait most of the time. Files share a process (`isolate: false`), so
 * modules are loaded only once, which halves the CPU time. This works because no module has state, and because tests
 * check only their own namespaces, Pods and servers.
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
          // These tests need only CPU time, and each process loads the modules again.
          maxWorkers: Math.min(together.maxWorkers, availableParallelism()),
          // In `npm test`, the unit tests run only while no other test needs the CPU (test/main.ts).
          testTimeout: 1_200_000,
          hookTimeout: 1_200_000,
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
