import { once } from 'node:events';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BpfError, enterNetns, netlinkDump, netnsCookie, withNetns } from '../lib/index.ts';
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

it('the cookie distinguishes the namespaces and stays', () => {
  const home = netnsCookie();
  const inFirst = withNetns(first.path, netnsCookie);
  const inSecond = withNetns(second.path, netnsCookie);
  expect(new Set([home, inFirst, inSecond]).size).toBe(3);
  expect(netnsCookie()).toBe(home);
  expect(withNetns(first.path, netnsCookie)).toBe(inFirst);
});

describe('enterNetns', () => {
  /** Returns the number of threads of this process in the namespace at a path. */
  const threadsIn = (path: string) =>
    readdirSync('/proc/self/task').filter((task) => {
      const { ino, dev } = statSync(`/proc/self/task/${task}/ns/net`);
      return ino === statSync(path).ino && dev === statSync(path).dev;
    }).length;

  const startIn = (path: string) =>
    new Worker(new URL('./support/worker.ts', import.meta.url), {
      workerData: { task: 'liveInNamespace', objects: '', path },
    });

  it('moves a worker thread permanently, with its sockets, and no other thread', async () => {
    using namespace = new TestNamespace();
    namespace.batch('link set lo up');
    const home = netnsCookie();
    const worker = startIn(namespace.path);
    const exit = once(worker, 'exit');
    const [seen] = await once(worker, 'message');
    expect(seen.home).toBe(home);
    expect(seen.entered).toBe(withNetns(namespace.path, netnsCookie));
    expect([...seen.devices.matchAll(/^\s*(\S+):/gm)].map(([, name]: string[]) => name)).toEqual(namespace.links());
    expect(seen.answer).toBe('connected');
    // withNetns temporarily returned to the original namespace.
    expect(seen.back).toBe(home);
    expect(seen.after).toBe(seen.entered);
    expect(netnsCookie()).toBe(home);
    expect(threadsIn(namespace.path)).toBe(1);
    const listening = () => readFileSync('/proc/thread-self/net/tcp', 'utf8');
    const port = `0100007F:${seen.port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000 0A`;
    expect(withNetns(namespace.path, listening)).toContain(port);
    expect(listening()).not.toContain(port);
    worker.postMessage('end');
    await exit;
    expect(threadsIn(namespace.path)).toBe(0);
  });

  it('releases the namespace when the thread is terminated', async () => {
    using namespace = new TestNamespace();
    namespace.batch('link set lo up');
    const before = openDescriptors();
    for (let round = 0; round < 3; round++) {
      const worker = startIn(namespace.path);
      await once(worker, 'message');
      expect(threadsIn(namespace.path)).toBe(1);
      await worker.terminate();
      expect(threadsIn(namespace.path)).toBe(0);
    }
    expect(openDescriptors()).toEqual(before);
  });

  it('refuses to move the main thread', () => {
    const home = netnsCookie();
    expect(() => enterNetns(first.path)).toThrow(
      expect.objectContaining({
        code: 'NETNS',
        operation: 'enter',
        subject: first.path,
        errno: 22,
        message: expect.stringContaining('the main thread cannot leave the namespace of the process'),
      }),
    );
    expect(netnsCookie()).toBe(home);
  });

  it.each([
    ['that does not exist', '/run/netns/no-such-namespace', 2],
    ['of another kind of namespace', '/proc/self/ns/mnt', 22],
  ])('refuses a path %s: the thread ends with the error', async (_what, path, errno) => {
    const before = openDescriptors();
    const worker = startIn(path);
    const exit = new Promise((resolve) => worker.once('exit', resolve));
    const [error] = await once(worker, 'error');
    await exit;
    expect(error).toMatchObject({ name: 'BpfError', code: 'NETNS', subject: path, errno });
    expect(openDescriptors()).toEqual(before);
  });
});

describe('withNetns', () => {
  it('returns the result of the function', () => {
    expect(withNetns(first.path, () => ({ answer: 42 }))).toEqual({ answer: 42 });
  });

  it('has the files of the namespace inside', () => {
    // /proc/net is not used because it belongs to the namespace of the process's first thread.
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
    ['a value that is not an error', 'from inside'],
  ])('returns if the function throws %s, and rethrows it', (_what, thrown) => {
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

  it('refuses an async function and returns', () => {
    const home = netnsCookie();
    expect(() => withNetns(first.path, async () => 1)).toThrow(
      expect.objectContaining({ name: 'BpfError', code: 'NETNS', message: expect.stringContaining('async') }),
    );
    expect(netnsCookie()).toBe(home);
  });

  it.each([
    ['that does not exist', '/run/netns/no-such-namespace', 2],
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

  it('leaves no descriptor open, after success and failure', () => {
    const before = openDescriptors();
    for (let i = 0; i < 500; i++) {
      withNetns(first.path, netnsCookie);
      expect(() => withNetns('/etc/passwd', netnsCookie)).toThrow();
      expect(() => withNetns(first.path, () => withNetns('/no/such/path', netnsCookie))).toThrow();
    }
    expect(openDescriptors()).toEqual(before);
  });
});
