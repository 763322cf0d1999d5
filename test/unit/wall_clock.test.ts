import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { surveyWallClock } from '../../scripts/wall_clock.ts';

const PLACES = { 'src/agent.ts': { reads: 2, why: 'when it was started' } };

/** A valid source tree. Each test changes it in one place. */
const SOUND: Readonly<Record<string, string>> = {
  'src/agent.ts': 'const started = new Date();\nconst run = Date.now();',
  'src/queue.ts':
    'const at = new Date(1_000), then = new Date(\n  at,\n), parsed = Date.parse(text), end = performance.now();',
  'src/queue.test.ts': 'const start = Date.now();',
  'src/comment.ts':
    "// Date.now() may be set.\n/* new Date() too */\nconst text = 'Date.now() and new Date()', url = `http://x`;",
  'bench/a.ts': '',
  'bpf-napi/lib/a.ts': '',
  'scripts/a.ts': '',
  'test/a.ts': '',
};

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'wall-clock-'));
});
afterEach(() => rmSync(root, { recursive: true }));

function survey(changes: Readonly<Record<string, string>> = {}) {
  for (const [path, text] of Object.entries({ ...SOUND, ...changes })) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return surveyWallClock(root, PLACES);
}

describe('the wall clock', () => {
  it('may be read in the listed places and in tests; conversions, comments and texts do not count', () => {
    expect(survey()).toEqual({ files: 7, reads: 2, violations: [] });
  });

  it.each([
    ['Date.now()', 'x;\nconst endMs = Date.now() + 5_000;'],
    ['Date.now as a default', 'x;\nfunction wait(now = Date.now) {}'],
    ['new Date()', 'x;\nconst start = new Date();'],
    ['new Date( ) over two lines', 'x;\nconst start = new Date(\n);'],
    ['new Date', 'x;\nconst start = new Date;'],
    ['Date()', 'x;\nconst start = Date();'],
    ['a template', `x;\nconst text = \`it is \${new Date(Date.now() + 5).toISOString()}\`;`],
    ['code beside a comment', '/* x */\nconst start = /* of it */ Date.now(); // start'],
  ])('may not be read elsewhere: %s', (_, text) => {
    expect(survey({ 'src/queue.ts': text }).violations).toEqual([
      expect.stringMatching(/^src\/queue\.ts: reads the wall clock in line 2; take performance\.now\(\)/),
    ]);
  });

  it.each(['bench/a.ts', 'bpf-napi/lib/a.ts', 'scripts/a.ts', 'test/a.ts', 'src/page/a.tsx'])(
    'may not be read in %s',
    (path) => {
      expect(survey({ [path]: 'Date.now();' }).violations).toEqual([
        expect.stringContaining(`${path}: reads the wall`),
      ]);
    },
  );

  it('may not be read more or less often than listed', () => {
    const more = `${SOUND['src/agent.ts']}\nDate.now();`;
    expect(survey({ 'src/agent.ts': more }).violations).toEqual([
      expect.stringMatching(/^src\/agent\.ts: reads the wall clock in line 1, 2, 3, and may 2 times; /),
    ]);
    expect(survey({ 'src/agent.ts': 'new Date();' }).violations).toEqual([
      'src/agent.ts: reads the wall clock 1 times, the list says 2',
    ]);
    rmSync(join(root, 'src/agent.ts'));
    expect(surveyWallClock(root, PLACES).violations).toEqual([
      'src/agent.ts: is in the list of scripts/wall_clock.ts, but does not exist',
    ]);
  });
});
