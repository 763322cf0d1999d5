import { beforeAll, describe, expect, inject, it } from 'vitest';
import { collect, DEADLINE_MS } from './background.ts';
import { TESTED_GROUPS } from './checks/index.ts';
import { missingForGuest, runInGuest } from './guest.ts';
import { TESTED } from './kernels.ts';
import type { Checked } from './run_checks.ts';

/** Whether it is a failure if the guest cannot run. This is so in CI, where skipped tests would go unnoticed. */
const IS_REQUIRED = process.env['CI'] !== undefined;

for (const kernel of TESTED) {
  const missing = missingForGuest(kernel);
  const title = missing === undefined ? `kernel ${kernel}` : `kernel ${kernel}, which cannot be booted: ${missing}`;

  describe.skipIf(missing !== undefined && !IS_REQUIRED)(title, () => {
    let checked: Checked;

    /**
     * All checks share one guest, which was booted when vitest started. A check that the guest did not reach fails with
     * the guest's output.
     */
    beforeAll(async () => {
      checked =
        missing === undefined
          ? await collect(inject('guests'), kernel)
          : { outcomes: new Map(), report: undefined, loads: [], printed: [], failure: missing };
    }, DEADLINE_MS);

    for (const { name, titles } of TESTED_GROUPS) {
      it.for(titles)(`${name}: %s`, (check, { skip }) => {
        const { outcomes, printed, failure } = checked;
        const outcome = outcomes.get(`${name}: ${check}`);
        if (outcome === undefined) throw new Error([`was not run: ${failure}`, ...printed.slice(-40)].join('\n'));
        expect(outcome.error).toBeUndefined();
        if (outcome.lacks !== undefined) skip(outcome.lacks);
      });
    }

    it('the guest ends cleanly', () => expect(checked.failure).toBeUndefined());

    it('a guest that does not end is killed', async () => {
      const run = runInGuest(kernel, { command: ['sleep', '100'], deadlineMs: 1_000, line: () => undefined });
      await expect(run).rejects.toThrow('the guest did not end within 1 s');
    });
  });
}
