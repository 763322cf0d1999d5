import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BusyError } from '#core/turns.ts';
import { basicCredentials, Passwords } from './passwords.ts';

const HASH = '$2y$04$gjFPaSjB4VZ.HXDoMVkJD.Iyed6rLfNZXk4fnKVyBQLMp0tmpuFj.';
const STAYS = new AbortController().signal;
const HASHING_MS = 100;

describe('passwords', () => {
  let hashed: string[];
  let running: number;
  let most: number;
  let passwords: Passwords;

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    hashed = [];
    running = 0;
    most = 0;
    passwords = new Passwords(
      new Map([
        ['alice', 'right'],
        ['bob', 'right'],
      ]),
      async (password, hash) => {
        hashed.push(password);
        running++;
        most = Math.max(most, running);
        await new Promise((resolve) => setTimeout(resolve, HASHING_MS));
        running--;
        return password === hash;
      },
    );
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const ask = (user: string, password: string, owner = 'a') => passwords.areRight(user, password, owner, STAYS);

  it('are hashed once if they are right, and each time if they are wrong', async () => {
    const outcome = Promise.all([ask('alice', 'right'), ask('alice', 'wrong'), ask('eve', 'right')]);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(await outcome).toEqual([true, false, false]);
    expect(await ask('alice', 'right')).toBe(true);
    const again = Promise.all([ask('alice', 'wrong'), ask('bob', 'right')]);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(await again).toEqual([false, true]);
    // A hash is also computed for an unknown user, so the response time does not reveal which users exist.
    expect(hashed).toEqual(['right', 'wrong', 'right', 'wrong', 'right']);
  });

  it('a flood of wrong ones takes a tenth of a CPU, one at a time, and another address waits for two of them', async () => {
    const flood = Array.from({ length: 60 }, (_, index) =>
      ask('alice', `wrong ${index}`, 'flood').catch((error) => error),
    );
    const other = ask('bob', 'right', 'prometheus');
    await vi.advanceTimersByTimeAsync(2_000);
    expect([await other, hashed.indexOf('right')]).toEqual([true, 2]);
    await vi.advanceTimersByTimeAsync(6_000);
    expect(hashed.length * HASHING_MS).toBeLessThanOrEqual(1_000 + 0.1 * 8_000 + HASHING_MS);
    expect(most).toBe(1);
    await vi.advanceTimersByTimeAsync(2_000);
    const outcomes = await Promise.all(flood);
    expect(outcomes.filter((outcome) => outcome === false).length).toBeGreaterThan(5);
    expect(outcomes.some((outcome) => outcome instanceof BusyError)).toBe(true);
    expect(outcomes).not.toContain(true);
  });
});

it('bcrypt accepts the right one', async () => {
  const { hash } = await import('bcryptjs');
  const passwords = new Passwords(
    new Map([
      ['alice', await hash('säcret', 4)],
      ['bob', HASH],
    ]),
  );
  expect(await passwords.areRight('alice', 'säcret', 'a', STAYS)).toBe(true);
  expect(await passwords.areRight('alice', 'sacret', 'a', STAYS)).toBe(false);
  expect(await passwords.areRight('bob', 'anything', 'a', STAYS)).toBe(false);
});

it.each([
  ['Basic YWxpY2U6c2VjcmV0', ['alice', 'secret']],
  ['basic   YWxpY2U6OmE6Yg==', ['alice', ':a:b']],
  ['Basic Og==', ['', '']],
  ['Basic YWxpY2U=', undefined],
  ['Bearer YWxpY2U6c2VjcmV0', undefined],
  ['Basic !', undefined],
  [undefined, undefined],
])('%s: %j', (header, credentials) => expect(basicCredentials(header)).toEqual(credentials));
