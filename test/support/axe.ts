import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Page } from 'playwright-core';

/**
 * axe-core checks a page in the browser. It is evaluated through the DevTools protocol, because the page's
 * Content-Security-Policy allows no other scripts, and must not allow any for a test.
 */
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Rules of WCAG 2.2 are off by default. Without `preload`, axe-core requests no files. */
const RUN = `axe.run(document, {
  preload: false,
  resultTypes: ['violations'],
  rules: { 'target-size': { enabled: true } },
}).then(({ violations, passes }) => ({ violations, passed: passes.length }))`;

interface Findings {
  readonly violations: readonly {
    readonly id: string;
    readonly impact: string | null;
    readonly help: string;
    readonly nodes: readonly { readonly target: readonly unknown[]; readonly html: string }[];
  }[];
  /** Number of rules without violations. */
  readonly passed: number;
}

const SEVERE: readonly (string | null)[] = ['serious', 'critical'];

/**
 * Returns the serious and critical findings of axe-core about a page: the rule, its text, and the first part of the page
 * that breaks it.
 * @throws if axe-core could not check the page
 */
export async function findingsOf(page: Page): Promise<string[]> {
  const session = await page.context().newCDPSession(page);
  const evaluate = async (expression: string) => {
    const given = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await session.send('Runtime.evaluate', given);
    if (exceptionDetails !== undefined) throw new Error(`axe-core: ${JSON.stringify(exceptionDetails.exception)}`);
    return result.value as unknown;
  };
  try {
    await evaluate(`${AXE}; undefined`);
    const { violations, passed } = (await evaluate(RUN)) as Findings;
    if (passed === 0) throw new Error('axe-core applied no rule');
    return violations
      .filter(({ impact }) => SEVERE.includes(impact))
      .map(
        ({ id, help, nodes }) => `${id}: ${help}: ${nodes.length} × ${nodes[0]?.target.join(' ')} ${nodes[0]?.html}`,
      );
  } finally {
    await session.detach();
  }
}
