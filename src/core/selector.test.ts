import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Selector, SelectorError } from './selector.ts';

const LABELS = { app: 'web', tier: 'front', 'app.kubernetes.io/name': 'shop', empty: '' };

describe('a selector', () => {
  it.each([
    ['', true],
    ['app', true],
    ['app=web', true],
    ['app==web', true],
    ['app = web , tier != back', true],
    ['app=web,tier!=front', false],
    ['app!=web', false],
    ['none!=web', true],
    ['!none', true],
    ['! none', true],
    ['!app', false],
    ['none', false],
    ['app in (web, shop)', true],
    ['app in (shop)', false],
    ['none in (web)', false],
    ['app notin (web,shop)', false],
    ['none notin (web)', true],
    ['app.kubernetes.io/name=shop', true],
    ['app.kubernetes.io/name in (shop),!canary,tier', true],
    ['empty=', true],
    ['app=', false],
    ['empty in ()', true],
    ['app in (,web)', true],
    ['empty=,app=web', true],
    ['in in (x)', false],
    ['!in', true],
    ['app=in', false],
    ['__proto__', false],
    ['constructor', false],
  ])('%j: %s', (text, matches) => {
    if (text === '__proto__') expect(() => Selector.parse(text)).toThrow(SelectorError);
    else expect(Selector.parse(text).matches(LABELS)).toBe(matches);
  });

  it.each([
    ['app=web,', 'the key of a label, like app or app.kubernetes.io/name, at character 9, not the end'],
    ['app web', '=, ==, !=, in, notin, a comma or the end at character 5, not "web"'],
    ['app in web', '( and values at character 8, not "web"'],
    ['app in (web', 'a comma or ) at character 12, not the end'],
    ['app in (web))', 'a comma or the end at character 13, not ")"'],
    ['=web', 'the key of a label, like app or app.kubernetes.io/name, at character 1, not "="'],
    ['-app', 'the key of a label, like app or app.kubernetes.io/name, at character 1, not "-app"'],
    ['UP/app', 'the key of a label, like app or app.kubernetes.io/name, at character 1, not "UP/app"'],
    ['a/b/c', 'the key of a label, like app or app.kubernetes.io/name, at character 1, not "a/b/c"'],
    ['app=we$b', 'the value of a label (letters, digits, - _ . between them, at most 63) at character 5, not "we$b"'],
    ['app==,!', 'the key of a label, like app or app.kubernetes.io/name, at character 8, not the end'],
    ['app>1', 'the key of a label, like app or app.kubernetes.io/name, at character 1, not "app>1"'],
    ['a,,b', 'the key of a label, like app or app.kubernetes.io/name, at character 3, not ","'],
    [`app=${'x'.repeat(64)}`, /at character 5, not "x{40}…"$/],
  ])('%j is refused, with the place of the fault', (text, message) =>
    expect(() => Selector.parse(text)).toThrow(message),
  );

  it('never fails with another error, and never hangs', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[a-c!=(), \t-]{0,40}$/)), (text) => {
        try {
          Selector.parse(text).matches(LABELS);
        } catch (error) {
          expect(error).toBeInstanceOf(SelectorError);
        }
      }),
    );
  });
});
