import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Floor, surveyFloors } from '../../scripts/floors.ts';

const FLOORS: readonly Floor[] = [
  { name: 'main.ts' },
  { name: 'agent' },
  { name: 'web', only: ['core'] },
  { name: 'delivery' },
  { name: 'core' },
];

/** A valid source tree. Each test changes it in one place. */
const SOUND: Readonly<Record<string, string>> = {
  'main.ts': "import { Agent } from './agent/agent.ts';",
  'agent/agent.ts': "import type { Sink } from '#delivery/sink.ts';\nexport { Lane } from './lane.ts';",
  'agent/lane.ts': "const { size } = await import('#core/size.ts');",
  'web/page.ts': "import '#core/size.ts';",
  'delivery/sink.ts': "import { readFile } from 'node:fs/promises';\nimport { size } from '#core/size.ts';",
  'core/size.ts': 'export const size = 1;',
};

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'floors-'));
});
afterEach(() => rmSync(root, { recursive: true }));

function survey(changes: Readonly<Record<string, string>> = {}) {
  for (const [path, text] of Object.entries({ ...SOUND, ...changes })) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return surveyFloors(root, FLOORS);
}

describe('the floors', () => {
  it('stand if every import points down', () => {
    const { files, imports, violations, circles } = survey();
    expect([files.length, imports.length, violations, circles]).toEqual([6, 6, [], []]);
  });

  it.each([
    [
      'an import that points up',
      'core/a.ts',
      "import { x } from '#delivery/sink.ts';",
      'core/a.ts: imports up: core stands below delivery',
    ],
    ['a type that points up', 'core/a.ts', "import type { X } from '#delivery/sink.ts';", 'core/a.ts: imports up'],
    ['a type within a type', 'core/a.ts', "export type X = import('#delivery/sink.ts').X;", 'core/a.ts: imports up'],
    ['a re-export from above', 'core/a.ts', "export * from '#delivery/sink.ts';", 'core/a.ts: imports up'],
    ['an import on demand that points up', 'core/a.ts', "await import('#delivery/sink.ts');", 'core/a.ts: imports up'],
    [
      'an import over several lines',
      'core/a.ts',
      "import {\n  x,\n} from '#delivery/sink.ts';",
      'core/a.ts: imports up',
    ],
    ['another room by path', 'delivery/a.ts', "import { size } from '../core/size.ts';", 'of another room by path'],
    ['the own room by name', 'delivery/a.ts', "import { Sink } from '#delivery/sink.ts';", 'of its own room by name'],
    ['a file that is not there', 'delivery/a.ts', "import { x } from '#core/nothing.ts';", 'which is not there'],
    [
      'a room with fewer permitted imports',
      'web/a.ts',
      "import { Sink } from '#delivery/sink.ts';",
      'web may see core only',
    ],
    ['a folder in no floor', 'attic/a.ts', '', 'attic/: a folder in no floor'],
    ['a loose file', 'loose.ts', '', 'loose.ts: a file loose in src/, in no room'],
  ])('fall with %s', (_, path, text, violation) => {
    const { violations } = survey({ [path]: text });
    expect(violations).toHaveLength(1);
    expect(violations[0]).toContain(violation);
  });

  it('fall with circular imports, over any number of steps', () => {
    const { violations, circles } = survey({
      'core/a.ts': "import './b.ts';",
      'core/b.ts': "import type { C } from './c.ts';",
      'core/c.ts': "import './a.ts';\nimport './size.ts';",
    });
    expect(violations).toEqual([]);
    expect(circles).toEqual([['core/a.ts', 'core/b.ts', 'core/c.ts']]);
  });

  it('let tests import from every room', () => {
    expect(survey({ 'core/a.test.ts': "import '#agent/agent.ts';" }).violations).toEqual([]);
  });
});
