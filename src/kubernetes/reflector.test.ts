import { describe, expect, it } from 'vitest';
import { podObject } from '../../test/support/api_objects.ts';
import { ApiServer } from '../../test/support/api_server.ts';
import { eventually } from '../../test/support/oracle.ts';
import { VirtualClock } from '../../test/support/virtual_clock.ts';
import type { ApiSession } from './api.ts';
import { type Pod, podsOf } from './objects.ts';
import type { Timing } from './pace.ts';
import { Reflector, type Resource } from './reflector.ts';
import { openSession } from './session.ts';

/**
 * Maximum time until the reflector has recovered after the server is available again, measured by the virtual clock.
 */
const HEALS_WITHIN_MS = 10_000;
const SPACING_MS = 1_000;
/** Minimum interval between two requests for a forbidden resource. */
const FORBIDDEN_MS = 30_000;
/** Time during which a 403 response may be due to a server that has just started. */
const GRACE_MS = 120_000;
const SLOWEST_MS = 8_000;
/** Timeouts that a healthy server never reaches, even on a busy machine. */
const PATIENT = { answerMs: 60_000, idleMs: 60_000 };
/** Timeouts for a server that stops responding, in real time. */
const IMPATIENT = { answerMs: 1_500, idleMs: 2_500 };

interface Scene extends AsyncDisposable {
  readonly server: ApiServer;
  readonly reflector: Reflector<Pod>;
  readonly clock: VirtualClock;
  /** Time of each request, in milliseconds. */
  readonly sentMs: readonly number[];
  readonly names: () => string[];
  readonly log: string[];
  readonly add: (name: string, given?: Parameters<typeof podObject>[0]) => string;
}

async function follow(timing: Partial<Timing> = {}, resource: Resource<Pod> = podsOf('node-1')): Promise<Scene> {
  const server = await ApiServer.start();
  const pods = new Map<string, Pod>();
  const log: string[] = [];
  const sentMs: number[] = [];
  const clock = new VirtualClock();
  const session = openSession(server.kubeconfig);
  const noted: ApiSession = {
    server: session.server,
    request: (request) => {
      sentMs.push(clock.now());
      return session.request(request);
    },
    renew: () => session.renew(),
    [Symbol.dispose]: () => session[Symbol.dispose](),
  };
  const reflector = new Reflector(
    noted,
    resource,
    { set: (uid, pod) => void pods.set(uid, pod), delete: (uid) => void pods.delete(uid) },
    (_, message) => log.push(message),
    { ...PATIENT, ...timing },
    clock,
  );
  return {
    server,
    reflector,
    clock,
    sentMs,
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

/** Checks that no two requests were sent at too short an interval. */
function expectMeasured({ sentMs }: Scene, spacingMs = SPACING_MS): void {
  const pauses = sentMs.slice(1).map((atMs, index) => atMs - (sentMs[index] ?? 0));
  expect(Math.min(...pauses)).toBeGreaterThanOrEqual(spacingMs);
}

/** Waits until this number of further requests has been sent. */
async function askedAgain({ sentMs }: Scene, times: number): Promise<void> {
  const before = sentMs.length;
  await eventually(() => expect(sentMs.length).toBeGreaterThanOrEqual(before + times));
}

describe.concurrent('a copy by list and watch', () => {
  it('has the objects of the server: those of its own node, even ended ones, until they are deleted', async () => {
    await using scene = await follow();
    const { server, names, add } = scene;
    add('one');
    add('other', { name: 'other', node: 'node-2' });
    const ended = add('ended', { name: 'ended', phase: 'Succeeded' });
    await eventually(() => expect(names()).toEqual(['ended', 'one']));
    await eventually(() => expect(server.requests.some(({ isWatch }) => isWatch)).toBe(true));
    expect(server.requests[0]?.query.get('resourceVersion')).toBe('0');
    const two = add('two');
    await eventually(() => expect(names()).toEqual(['ended', 'one', 'two']));
    server.delete('pods', two);
    server.delete('pods', ended);
    await eventually(() => expect(names()).toEqual(['one']));
    expect(scene.reflector.tally).toMatchObject({ isConnected: true, objects: 1, relists: 0 });
    expect(scene.log).toEqual([]);
  });

  it('continues where a stream broke off, without a new list', async () => {
    await using scene = await follow();
    const { server, names, add } = scene;
    add('one');
    await eventually(() => expect(server.requests.some(({ isWatch }) => isWatch)).toBe(true));
    server.resetStreams();
    add('two');
    await eventually(() => expect(names()).toEqual(['one', 'two']));
    expect(server.requests.filter(({ isWatch }) => !isWatch)).toHaveLength(1);
    expect(scene.reflector.tally.isConnected).toBe(true);
  });

  it('gives up a stream that is silent for too long', async () => {
    await using scene = await follow(IMPATIENT);
    const { server, names, add } = scene;
    await eventually(() => expect(server.requests.some(({ isWatch }) => isWatch)).toBe(true));
    server.mood = { kind: 'hangs' };
    add('one');
    server.resume('stay-silent');
    await eventually(() => expect(names()).toEqual(['one']));
  });

  it('takes changes from a time without answers within ten seconds of the server’s return', async () => {
    await using scene = await follow(IMPATIENT);
    const { server, clock, names, add } = scene;
    const one = add('one');
    await eventually(() => expect(names()).toEqual(['one']));
    server.mood = { kind: 'hangs' };
    await eventually(() => expect(scene.reflector.tally.isConnected).toBe(false));
    await askedAgain(scene, 5);
    expect(names()).toEqual(['one']);
    server.delete('pods', one);
    add('two');
    const backMs = clock.now();
    server.resume('stay-silent');
    await eventually(() => expect(names()).toEqual(['two']));
    expect(clock.now() - backMs).toBeLessThanOrEqual(HEALS_WITHIN_MS);
    expectMeasured(scene);
  });

  it.each([
    ['a status', { kind: 'gone', as: 'status' }],
    ['an event in the stream', { kind: 'gone', as: 'event' }],
    ['each stream ended at once', { kind: 'ends-streams' }],
    ['status 500', { kind: 'fails', status: 500 }],
    ['status 429', { kind: 'fails', status: 429 }],
  ] as const)('heals after 410 Gone and other faults, one request a second: %s', async (_, mood) => {
    await using scene = await follow();
    const { server, clock, names, add } = scene;
    const one = add('one');
    await eventually(() => expect(server.requests.some(({ isWatch }) => isWatch)).toBe(true));
    server.mood = mood;
    server.resetStreams();
    await askedAgain(scene, 5);
    add('two');
    server.delete('pods', one);
    const backMs = clock.now();
    server.mood = { kind: 'well' };
    await eventually(() => expect(names()).toEqual(['two']));
    expect(clock.now() - backMs).toBeLessThanOrEqual(HEALS_WITHIN_MS);
    await eventually(() => expect(scene.reflector.tally.isConnected).toBe(true));
    expectMeasured(scene);
  });

  it.each([
    ['higher', 5_000_000],
    ['lower', 7],
  ])('lists again where the server was away and returns with %s versions', async (_, version) => {
    await using scene = await follow();
    const { server, names, add } = scene;
    const one = add('one');
    await eventually(() => expect(names()).toEqual(['one']));
    await server.kill();
    await askedAgain(scene, 5);
    expect(names()).toEqual(['one']);
    expect(scene.reflector.tally.isConnected).toBe(false);
    server.forget('pods', one);
    add('two');
    await server.restart(version);
    await eventually(() => expect(names()).toEqual(['two']));
    add('three');
    await eventually(() => expect(names()).toEqual(['three', 'two']));
    expectMeasured(scene);
    // A connection may be either reset or refused, so the messages differ.
    const troubles = scene.log.slice(0, -1);
    expect(troubles).not.toEqual([]);
    for (const line of troubles) expect(line).toMatch(/^pods: .* the last known state is kept$/);
    expect(new Set(troubles).size).toBe(troubles.length);
    expect(scene.log.at(-1)).toMatch(/responds again$/);
  });

  it('lists again if the server went back to earlier versions, and no request failed', async () => {
    await using scene = await follow();
    const { server, names, add } = scene;
    const one = add('one');
    await eventually(() => expect(server.requests.some(({ isWatch }) => isWatch)).toBe(true));
    // After the restart, the server's resource version is older than the reflector's.
    await server.kill();
    server.forget('pods', one);
    await server.restart(7);
    add('two');
    await eventually(() => expect(names()).toEqual(['two']));
    expect([...scene.reflector.tally.requests.keys()]).not.toContain('watch error');
    expect(scene.log).toContainEqual(expect.stringContaining('went back from version'));
  });

  it('reads its token again if the old one has expired', async () => {
    await using scene = await follow();
    const { server, names, add } = scene;
    await eventually(() => expect(server.requests.some(({ isWatch }) => isWatch)).toBe(true));
    const rotated = server.rotateToken();
    server.resetStreams();
    await eventually(() => expect([...scene.reflector.tally.requests.keys()]).toContain('watch 401'));
    rotated.write();
    add('one');
    await eventually(() => expect(names()).toEqual(['one']));
  });

  it('takes a long list in pages, without resourceVersion', async () => {
    await using scene = await follow({ startJitterMs: 200 }, { ...podsOf('node-1'), list: 'pages' });
    const { server, names, add } = scene;
    for (let index = 0; index < 1_200; index++) add(`pod-${index}`);
    await eventually(() => expect(names()).toHaveLength(1_200));
    const lists = server.requests.filter(({ isWatch }) => !isWatch);
    expect(lists.map(({ query }) => query.get('resourceVersion'))).toEqual([null, null, null]);
    expect(lists.map(({ query }) => query.get('limit'))).toEqual(['500', '500', '500']);
  });

  it('reads the list again when it is time, and drops objects that no longer exist', async () => {
    await using scene = await follow({ relistMs: 2_000, streamMs: 2_000 });
    const { server, names, add } = scene;
    const one = add('one');
    add('two');
    await eventually(() => expect(names()).toEqual(['one', 'two']));
    // The server does not report this deletion in the stream.
    server.forget('pods', one);
    await eventually(() => expect(names()).toEqual(['two']));
    expect(scene.reflector.tally.relists).toBeGreaterThan(0);
    expect(scene.reflector.tally.objects).toBe(1);
  });

  it('requests a resource rarely once access was denied for long, and names the missing right', async () => {
    await using scene = await follow();
    const { server, clock, sentMs, log } = scene;
    await eventually(() => expect(server.requests.some(({ isWatch }) => isWatch)).toBe(true));
    server.mood = { kind: 'fails', status: 403 };
    server.resetStreams();
    const refusedMs = clock.now();
    await eventually(() => expect(clock.now() - refusedMs).toBeGreaterThan(10 * GRACE_MS));
    expectMeasured(
      { ...scene, sentMs: sentMs.filter((atMs) => atMs > refusedMs + GRACE_MS + SLOWEST_MS) },
      FORBIDDEN_MS,
    );
    expect(log).toEqual([
      expect.stringMatching(
        /403 the server is not well .the service account needs permission to list and watch pods in the cluster/,
      ),
    ]);
    expect(scene.reflector.tally.trouble).toContain('403 the server is not well');
  });

  it('has all objects within ten seconds of the end of a refusal: a server that starts refuses everybody for a while', async () => {
    await using scene = await follow();
    const { server, clock, names, add } = scene;
    await eventually(() => expect(server.requests.some(({ isWatch }) => isWatch)).toBe(true));
    await server.kill();
    await askedAgain(scene, 5);
    server.mood = { kind: 'fails', status: 403 };
    await server.restart(9);
    const refusedMs = clock.now();
    await eventually(() => expect(clock.now() - refusedMs).toBeGreaterThan(60_000));
    add('one');
    const backMs = clock.now();
    server.mood = { kind: 'well' };
    await eventually(() => expect(names()).toEqual(['one']));
    expect(clock.now() - backMs).toBeLessThanOrEqual(HEALS_WITHIN_MS);
    expectMeasured(scene);
  });
});
