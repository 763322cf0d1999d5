import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Page } from 'playwright-core';

/**
 * axe-core checks a page in the browser. It is evaluated through the DevTools protocol, because the page's
 * Content-Security-Policy allows no other scripts, and must not allow any for a test.
 */
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Rules of WCAG 2.2 are off by default. */
const ALL_RULES = { rules: { 'target-size': { enabled: true } } };
/** The only rules whose result depends on colours. */
const COLOURS = { runOnly: ['color-contrast', 'link-in-text-block'] };

/** Returns the program that checks the page. Without `preload`, axe-core requests no files. */
const runOf = (rules: object) =>
  `axe.run(document, ${JSON.stringify({ preload: false, resultTypes: ['violations'], ...rules })})
    .then(({ violations, passes }) => ({ violations, passed: passes.length }))`;

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
 * @param isRecoloured whether only the colours have changed since an earlier check
 * @throws if axe-core could not check the page
 */
export async function findingsOf(page: Page, isRecoloured: boolean): Promise<string[]> {
  const session = await page.context().newCDPSession(page);
  const evaluate = async (expression: string) => {
    const given = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await session.send('Runtime.evaluate', given);
    if (exceptionDetails !== undefined) throw new Error(`axe-core: ${JSON.stringify(exceptionDetails.exception)}`);
    return result.value as unknown;
  };
  try {
    if (!isRecoloured) await evaluate(`${AXE}; undefined`);
    const rules = isRecoloured ? COLOURS : ALL_RULES;
    const { violations, passed } = (await evaluate(runOf(rules))) as Findings;
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
