import { defineConfig } from 'vitest/config';

/** One file at a time: they change the machine (namespaces, traffic, BPF programs) or measure it. */
const alone = { fileParallelism: false, pool: 'forks', testTimeout: 30_000, hookTimeout: 60_000 } as const;

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
      { test: { ...alone, name: 'e2e', include: ['test/e2e/*.test.ts'], sequence: { groupOrder: 3 } } },
      { test: { ...alone, name: 'guest', include: ['test/guest/*.test.ts'], sequence: { groupOrder: 4 } } },
      // Not part of `npm test`.
      { test: { ...alone, name: 'soak', include: ['test/soak/*.test.ts'], sequence: { groupOrder: 5 } } },
      { test: { ...alone, name: 'image', include: ['test/image/*.test.ts'], sequence: { groupOrder: 6 } } },
    ],
  },
});
