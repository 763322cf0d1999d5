import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BpfError, netlinkDump, netnsCookie, withNetns } from '../lib/index.ts';
import { TestNamespace } from './support/namespace.ts';
import { openDescriptors } from './support/process_state.ts';

let first: TestNamespace;
let second: TestNamespace;
beforeAll(() => {
  first = new TestNamespace();
  second = new TestNamespace();
});
afterAll(() => {
  first[Symbol.dispose]();
  second[Symbol.dispose]();
});

it('the cookie tells the namespaces apart and stays', () => {
  const home = netnsCookie();
  const inFirst = withNetns(first.path, netnsCookie);
  const inSecond = withNetns(second.path, netnsCookie);
  expect(new Set([home, inFirst, inSecond]).size).toBe(3);
  expect(netnsCookie()).toBe(home);
  expect(withNetns(first.path, netnsCookie)).toBe(inFirst);
});

describe('withNetns', () => {
  it('gives back what the function returned', () => {
    expect(withNetns(first.path, () => ({ answer: 42 }))).toEqual({ answer: 42 });
  });

  it('has the files of the namespace inside', () => {
    // Not /proc/net, which is of the process's first thread.
    const devices = () => readFileSync('/proc/thread-self/net/dev', 'utf8');
    const names = [...withNetns(first.path, devices).matchAll(/^\s*(\S+):/gm)].map(([, name]) => name);
    expect(names).toEqual(first.links());
  });

  it('nests', () => {
    const home = netnsCookie();
    const outer = withNetns(first.path, () => {
      const before = netnsCookie();
      const inner = withNetns(second.path, netnsCookie);
      expect(netnsCookie()).toBe(before);
      expect(inner).not.toBe(before);
      return before;
    });
    expect(outer).not.toBe(home);
    expect(netnsCookie()).toBe(home);
  });

  it.each([
    ['an error', new TypeError('from inside')],
    ['a BpfError', new BpfError('NETLINK', 'from inside', { operation: 'dump', errno: 95 })],
    ['a thing that is no error', 'from inside'],
  ])('comes back where the function throws %s, and passes it on', (_what, thrown) => {
    const home = netnsCookie();
    let caught: unknown;
    try {
      withNetns(first.path, () => {
        throw thrown;
      });
    } catch (error) {
      caught = error;
    }
    expect(caught).toBe(thrown);
    expect(netnsCookie()).toBe(home);
  });

  it('keeps the code of a call inside that failed', () => {
    expect(() => withNetns(first.path, () => netlinkDump(0, new Uint8Array(4), 100))).toThrow(
      expect.objectContaining({ code: 'NETLINK' }),
    );
  });

  it('refuses an async function and comes back', () => {
    const home = netnsCookie();
    expect(() => withNetns(first.path, async () => 1)).toThrow(
      expect.objectContaining({ name: 'BpfError', code: 'NETNS', message: expect.stringContaining('async') }),
    );
    expect(netnsCookie()).toBe(home);
  });

  it.each([
    ['that is not there', '/run/netns/no-such-namespace', 2],
    ['of another kind of namespace', '/proc/self/ns/mnt', 22],
    ['of a plain file', '/etc/passwd', 22],
  ])('refuses a path %s, without a call', (_what, path, errno) => {
    const home = netnsCookie();
    let called = false;
    const call = () => {
      called = true;
    };
    expect(() => withNetns(path, call)).toThrow(expect.objectContaining({ code: 'NETNS', subject: path, errno }));
    expect(called).toBe(false);
    expect(netnsCookie()).toBe(home);
  });

  it('leaves no descriptor open, whether it goes well or not', () => {
    const before = openDescriptors();
    for (let i = 0; i < 500; i++) {
      withNetns(first.path, netnsCookie);
      expect(() => withNetns('/etc/passwd', netnsCookie)).toThrow();
      expect(() => withNetns(first.path, () => withNetns('/no/such/path', netnsCookie))).toThrow();
    }
    expect(openDescriptors()).toEqual(before);
  });
});
