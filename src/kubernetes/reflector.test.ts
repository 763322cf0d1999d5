import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { podObject } from '../../test/support/api_objects.ts';
import { ApiServer } from '../../test/support/api_server.ts';
import { eventually } from '../../test/support/oracle.ts';
import { type Pod, podsOf } from './objects.ts';
import { Reflector, type Resource, type Timing } from './reflector.ts';
import { openSession } from './session.ts';

/** Converges so soon after the server is back (the issue of it: 10 s). */
const HEALS_WITHIN_MS = 10_000;

interface Scene extends AsyncDisposable {
  readonly server: ApiServer;
  readonly reflector: Reflector<Pod>;
  readonly names: () => string[];
  readonly log: string[];
  readonly add: (name: string, given?: Parameters<typeof podObject>[0]) => string;
}

async function follow(timing: Partial<Timing> = {}, resource: Resource<Pod> = podsOf('node-1')): Promise<Scene> {
  const server = await ApiServer.start();
  const pods = new Map<string, Pod>();
  const log: string[] = [];
  const reflector = new Reflector(
    openSession(server.kubeconfig),
    resource,
    { set: (uid, pod) => void pods.set(uid, pod), delete: (uid) => void pods.delete(uid) },
    (_, message) => log.push(message),
    { answerMs: 1_000, idleMs: 3_000, ...timing },
  );
  return {
    server,
    reflector,
    log,
    names: () => [...pods.values()].map(({ name }) => name).sort(),
    add: (name, given = { name }) => {
      const object = podObject({ ...given, name });
      server.put('pods', object);
      return object.metadata.uid;
    },
    [Symbol.asyncDispose]: async () => {
      await reflector[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Requests of the time since then, never more than one a second. */
function expectMeasured(server: ApiServer, sinceMs: number): void {
  const times = server.requestsSince('pods', sinceMs).map(({ atMs }) => atMs);
  for (const [index, atMs] of times.entries()) {
    // A timer may be a moment early, and the network late.
    if (index > 0) expect(atMs - (times[index - 1] ?? 0)).toBeGreaterThan(950);
  }
}

describe.concurrent('a copy by list and watch', { timeout: 40_000 }, () => {
  it('has what the server has: of its own node, until it is deleted or has ended', async () => {
    await using scene = await follow();
    const { server, names, add } = scene;
    add('one');
    add('other', { name: 'other', node: 'node-2' });
    const ended = add('ended', { name: 'ended', phase: 'Succeeded' });
    await eventually(() => expect(names()).toEqual(['one']));
    await eventually(() => expect(server.requests.some(({ isWatch }) => isWatch)).toBe(true));
    expect(server.requests[0]?.query.get('resourceVersion')).toBe('0');
    const two = add('two');
    await eventually(() => expect(names()).toEqual(['one', 'two']));
    server.put('pods', podObject({ uid: two, name: 'two', phase: 'Failed' }));
    await eventually(() => expect(names()).toEqual(['one']));
    server.delete('pods', ended);
    expect(scene.reflector.tally).toMatchObject({ isConnected: true, objects: 1, relists: 0 });
    expect(scene.log).toEqual([]);
  });

  it('goes on where a stream has broken off, without a new list', async () => {
    await using scene = await follow();
    const { server, names, add } = scene;
    add('one');
    await eventually(() => expect(server.requests.some(({ isWatch }) => isWatch)).toBe(true));
    server.resetStreams();
    add('two');
    await eventually(() => expect(names()).toEqual(['one', 'two']), HEALS_WITHIN_MS);
    expect(server.requests.filter(({ isWatch }) => !isWatch)).toHaveLength(1);
    expect(scene.reflector.tally.isConnected).toBe(true);
  });

  it('gives up a stream that is silent for too long', async () => {
    await using scene = await follow({ idleMs: 2_000 });
    const { server, names, add } = scene;
    await eventually(() => expect(server.requests.some(({ isWatch }) => isWatch)).toBe(true));
    server.mood = { kind: 'hangs' };
    add('one');
    server.resume('stay-silent');
    await eventually(() => expect(names()).toEqual(['one']), HEALS_WITHIN_MS);
  });

  it('takes what changed while nothing was answered, within ten seconds of the return', async () => {
    await using scene = await follow();
    const { server, names, add } = scene;
    const one = add('one');
    await eventually(() => expect(names()).toEqual(['one']));
    const since = performance.now();
    server.mood = { kind: 'hangs' };
    await wait(9_000);
    expect(scene.reflector.tally.isConnected).toBe(false);
    expect(names()).toEqual(['one']);
    server.delete('pods', one);
    add('two');
    server.resume('stay-silent');
    await eventually(() => expect(names()).toEqual(['two']), HEALS_WITHIN_MS);
    expectMeasured(server, since);
  });

  it.each([
    ['a status', { kind: 'gone', as: 'status' }],
    ['an event in the stream', { kind: 'gone', as: 'event' }],
    ['each stream ended at once', { kind: 'ends-streams' }],
    ['status 500', { kind: 'fails', status: 500 }],
    ['status 429', { kind: 'fails', status: 429 }],
  ] as const)('heals after 410 Gone and other faults, one request a second: %s', async (_, mood) => {
    await using scene = await follow();
    const { server, names, add } = scene;
    const one = add('one');
    await eventually(() => expect(server.requests.some(({ isWatch }) => isWatch)).toBe(true));
    const since = performance.now();
    server.mood = mood;
    server.resetStreams();
    await wait(6_000);
    add('two');
    server.delete('pods', one);
    server.mood = { kind: 'well' };
    await eventually(() => expect(names()).toEqual(['two']), HEALS_WITHIN_MS);
    await eventually(() => expect(scene.reflector.tally.isConnected).toBe(true));
    expectMeasured(server, since);
    expect(server.requestsSince('pods', since).length).toBeGreaterThan(2);
  });

  it.each([
    ['higher', 5_000_000],
    ['lower', 7],
  ])('lists anew where the server was away and comes back with %s versions', async (_, version) => {
    await using scene = await follow();
    const { server, names, add } = scene;
    const one = add('one');
    await eventually(() => expect(names()).toEqual(['one']));
    const since = performance.now();
    await server.kill();
    await wait(5_000);
    expect(names()).toEqual(['one']);
    expect(scene.reflector.tally.isConnected).toBe(false);
    server.forget('pods', one);
    add('two');
    await server.restart(version);
    await eventually(() => expect(names()).toEqual(['two']), HEALS_WITHIN_MS);
    add('three');
    await eventually(() => expect(names()).toEqual(['three', 'two']), HEALS_WITHIN_MS);
    expectMeasured(server, since);
    expect(scene.log).toEqual([
      expect.stringMatching(/^pods: .* what was last known stays$/),
      expect.stringMatching(/answers again$/),
    ]);
  });

  it('lists anew where the server has gone back to earlier versions, and no request has failed', async () => {
    await using scene = await follow();
    const { server, names, add } = scene;
    const one = add('one');
    await eventually(() => expect(server.requests.some(({ isWatch }) => isWatch)).toBe(true));
    // From now on the version that the next watch goes on from is one of the future.
    await server.kill();
    server.forget('pods', one);
    await server.restart(7);
    add('two');
    await eventually(() => expect(names()).toEqual(['two']), HEALS_WITHIN_MS);
    expect([...scene.reflector.tally.requests.keys()]).not.toContain('watch error');
    expect(scene.log).toContainEqual(expect.stringContaining('has gone back from version'));
  });

  it('reads its token anew where the old one has expired', async () => {
    await using scene = await follow();
    const { server, names, add } = scene;
    await eventually(() => expect(server.requests.some(({ isWatch }) => isWatch)).toBe(true));
    const rotated = server.rotateToken();
    server.resetStreams();
    await eventually(() => expect([...scene.reflector.tally.requests.keys()]).toContain('watch 401'), HEALS_WITHIN_MS);
    rotated.write();
    add('one');
    await eventually(() => expect(names()).toEqual(['one']), HEALS_WITHIN_MS);
  });

  it('takes a long list in pages, without resourceVersion', async () => {
    await using scene = await follow({ startJitterMs: 200 }, { ...podsOf('node-1'), list: 'pages' });
    const { server, names, add } = scene;
    for (let index = 0; index < 1_200; index++) add(`pod-${index}`);
    await eventually(() => expect(names()).toHaveLength(1_200), 6_000);
    const lists = server.requests.filter(({ isWatch }) => !isWatch);
    expect(lists.map(({ query }) => query.get('resourceVersion'))).toEqual([null, null, null]);
    expect(lists.map(({ query }) => query.get('limit'))).toEqual(['500', '500', '500']);
  });

  it('reads the list again when it is time, and drops what is not there any more', async () => {
    await using scene = await follow({ relistMs: 2_000, streamMs: 2_000 });
    const { server, names, add } = scene;
    const one = add('one');
    add('two');
    await eventually(() => expect(names()).toEqual(['one', 'two']));
    // A deletion that the stream has not told.
    server.forget('pods', one);
    await eventually(() => expect(names()).toEqual(['two']), HEALS_WITHIN_MS);
    expect(scene.reflector.tally.relists).toBeGreaterThan(0);
    expect(scene.reflector.tally.objects).toBe(1);
  });

  it('asks seldom for what it may not see', async () => {
    await using scene = await follow();
    scene.server.mood = { kind: 'fails', status: 403 };
    const since = performance.now();
    scene.server.resetStreams();
    await wait(6_000);
    expect(scene.server.requestsSince('pods', since).length).toBeLessThanOrEqual(2);
    expect(scene.log).toEqual([expect.stringContaining('403 the server is not well')]);
  });
});
