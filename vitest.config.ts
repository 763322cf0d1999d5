import { defineConfig } from 'vitest/config';

/** One file at a time: they change the machine (namespaces, traffic, BPF programs) or measure it. */
const alone = { fileParallelism: false, pool: 'forks', testTimeout: 30_000, hookTimeout: 60_000 } as const;

/** These wait for clocks more than they work, and look at nothing but their own agents and servers: some at a time. */
const WAITING = ['configmap', 'control', 'hang', 'kubernetes', 'loki'].map((name) => `test/e2e/${name}.test.ts`);

export default defineConfig({
  test: {
    reporters: ['default', './test/support/summary_reporter.ts'],
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'test/unit/**/*.test.ts'],
          sequence: { groupOrder: 0 },
          // Some wait more than they work.
          maxWorkers: 4,
        },
      },
      { test: { ...alone, name: 'addon', include: ['bpf-napi/test/*.test.ts'], sequence: { groupOrder: 1 } } },
      { test: { ...alone, name: 'kernel', include: ['test/kernel/*.test.ts'], sequence: { groupOrder: 2 } } },
      {
        test: {
          ...alone,
          fileParallelism: true,
          maxWorkers: 3,
          name: 'e2e-waiting',
          include: WAITING,
          sequence: { groupOrder: 3 },
        },
      },
      {
        test: {
          ...alone,
          name: 'e2e',
          include: ['test/e2e/*.test.ts'],
          exclude: WAITING,
          sequence: { groupOrder: 4 },
        },
      },
      { test: { ...alone, name: 'guest', include: ['test/guest/*.test.ts'], sequence: { groupOrder: 5 } } },
      // Not part of `npm test`.
      { test: { ...alone, name: 'soak', include: ['test/soak/*.test.ts'], sequence: { groupOrder: 6 } } },
      { test: { ...alone, name: 'image', include: ['test/image/*.test.ts'], sequence: { groupOrder: 7 } } },
    ],
  },
});
