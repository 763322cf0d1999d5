import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { USAGE, usageOf } from './usage.ts';

const COMMANDS = [...new Set([...USAGE.matchAll(/^ {2}netsonde ([a-z]+)/gm)].map(([, name = '']) => name))];
/** Options that are shown by their short names. */
const SHORT: Readonly<Record<string, RegExp>> = { output: /^ {2}-o /m, write: /^ {2}-w /m };
const FOLDER = new URL('.', import.meta.url);

/** Names of the options in the sources of a command. */
function optionsIn(command: string): string[] {
  const files = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' }).filter(
    (file) => file === `${command}.ts` || file === `${command}/arguments.ts`,
  );
  const text = files.map((file) => readFileSync(new URL(file, FOLDER), 'utf8')).join('');
  const shared = text.includes('...AGENT_OPTIONS') ? ['url', 'token-file', 'api-socket'] : [];
  const own = [...text.matchAll(/^ {2,4}'?([a-z][a-z.-]*)'?: \{ type: '(?:string|boolean)'/gm)];
  return [...shared, ...own.map(([, name = '']) => name)];
}

describe('help of a command', () => {
  it.each(COMMANDS)('%s', (command) => {
    const text = usageOf(command);
    expect(text).toMatch(new RegExp(`^ {2}netsonde ${command} `));
    for (const [, other] of text.matchAll(/^ {2}netsonde ([a-z]+)/gm)) expect(other).toBe(command);
    expect(text).not.toContain('Options of');
    for (const option of optionsIn(command)) expect(text).toMatch(SHORT[option] ?? new RegExp(`--${option}\\b`));
  });
});
