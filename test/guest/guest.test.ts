import { beforeAll, describe, expect, it } from 'vitest';
import { type CheckOutcome, OUTCOME } from './check.ts';
import { GROUPS } from './checks/index.ts';
import { missingForGuest, runInGuest } from './guest.ts';
import { TESTED } from './kernels.ts';

const DEADLINE_MS = 150_000;
/** Where nobody looks at what was skipped, a guest that cannot run is a failure. */
const IS_REQUIRED = process.env['CI'] !== undefined;

for (const kernel of TESTED) {
  const missing = missingForGuest(kernel);
  const title = missing === undefined ? `kernel ${kernel}` : `kernel ${kernel}, which cannot be booted: ${missing}`;

  describe.skipIf(missing !== undefined && !IS_REQUIRED)(title, () => {
    const outcomes = new Map<string, CheckOutcome>();
    const printed: string[] = [];
    let ending = 'the guest did not run';

    function receive(line: string): void {
      if (line.startsWith(OUTCOME)) {
        const outcome = JSON.parse(line.slice(OUTCOME.length)) as CheckOutcome;
        outcomes.set(`${outcome.group}: ${outcome.title}`, outcome);
      } else {
        printed.push(line);
      }
    }

    /** One boot for all. What the guest prints beside outcomes is shown with the checks that it did not come to. */
    beforeAll(async () => {
      const command = ['node', 'test/guest/inside.ts'];
      try {
        const status = await runInGuest(kernel, { command, deadlineMs: DEADLINE_MS, line: receive });
        ending = `the guest ended with status ${status}`;
      } catch (error) {
        ending = missing ?? (error as Error).message;
      }
    }, DEADLINE_MS + 30_000);

    for (const { name, titles } of GROUPS) {
      it.each(titles)(`${name}: %s`, (check) => {
        const outcome = outcomes.get(`${name}: ${check}`);
        if (outcome === undefined) throw new Error([`was not run: ${ending}`, ...printed.slice(-40)].join('\n'));
        expect(outcome.error).toBeUndefined();
      });
    }

    it('the guest ends as it should', () => expect(ending).toBe('the guest ended with status 0'));

    it('a guest that does not end is ended', async () => {
      const run = runInGuest(kernel, { command: ['sleep', '100'], deadlineMs: 1_000, line: () => undefined });
      await expect(run).rejects.toThrow('the guest did not end within 1 s');
    });
  });
}
