import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Lease, Shared } from './shared.ts';

/** A shared resource that records when it is opened and closed. */
class Door implements AsyncDisposable {
  static readonly log: string[] = [];
  readonly number: number;

  constructor(number: number) {
    this.number = number;
    Door.log.push(`open ${number}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.resolve();
    Door.log.push(`close ${this.number}`);
  }
}

function shared() {
  Door.log.length = 0;
  let opened = 0;
  return new Shared(async () => {
    await Promise.resolve();
    return new Door(++opened);
  });
}

describe('a shared resource', () => {
  it('is opened for the first user and closed after the last', async () => {
    const door = shared();
    const first = await door.acquire();
    const second = await door.acquire();
    expect(second.value).toBe(first.value);
    await first[Symbol.asyncDispose]();
    expect([door.users, Door.log]).toEqual([1, ['open 1']]);
    await second[Symbol.asyncDispose]();
    expect([door.users, Door.log]).toEqual([0, ['open 1', 'close 1']]);
    await using third = await door.acquire();
    expect(third.value.number).toBe(2);
  });

  it('is closed before it is opened again, however fast users start and end', async () => {
    const door = shared();
    const first = await door.acquire();
    const closing = first[Symbol.asyncDispose]();
    const second = await door.acquire();
    await closing;
    expect(Door.log).toEqual(['open 1', 'close 1', 'open 2']);
    await second[Symbol.asyncDispose]();
  });

  it('is released once by each user', async () => {
    const door = shared();
    const first = await door.acquire();
    const second = await door.acquire();
    await first[Symbol.asyncDispose]();
    await first[Symbol.asyncDispose]();
    expect([door.users, Door.log]).toEqual([1, ['open 1']]);
    await second[Symbol.asyncDispose]();
  });

  it('is opened again by the next user if opening failed', async () => {
    let attempts = 0;
    const door = new Shared(async () => {
      if (++attempts === 1) throw new Error('the kernel refused');
      return new Door(attempts);
    });
    await expect(door.acquire()).rejects.toThrow('the kernel refused');
    expect(door.users).toBe(0);
    await using lease = await door.acquire();
    expect(lease.value.number).toBe(2);
  });

  it('is open exactly while a user holds it, in every order of users', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(4), { maxLength: 40 }), async (users) => {
        const door = shared();
        const held = new Map<number, Promise<Lease<Door>>>();
        const ends: Promise<void>[] = [];
        for (const user of users) {
          const lease = held.get(user);
          if (lease === undefined) held.set(user, door.acquire());
          else {
            held.delete(user);
            ends.push(lease.then((taken) => taken[Symbol.asyncDispose]()));
          }
        }
        await Promise.all(ends);
        const values = await Promise.all([...held.values()].map(async (lease) => (await lease).value.number));
        expect(new Set(values).size).toBe(held.size === 0 ? 0 : 1);
        const opened = Door.log.filter((line) => line.startsWith('open')).length;
        expect(Door.log.length - opened).toBe(opened - (held.size > 0 ? 1 : 0));
        for (const lease of held.values()) await (await lease)[Symbol.asyncDispose]();
        expect(door.users).toBe(0);
        expect(Door.log.at(-1)?.startsWith('open') ?? false).toBe(false);
      }),
    );
  });
});
