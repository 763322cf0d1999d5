import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { beforeEach, describe, expect, it } from 'vitest';
import { Followers } from './followers.ts';
import { Refusals } from './refusals.ts';

let refusals: Refusals;
let followers: Followers;
/** Names of the open streams. */
let open: string[];

beforeEach(() => {
  refusals = new Refusals();
  followers = new Followers(refusals, 3);
  open = [];
});

function follow(name: string, remoteAddress: string | undefined, writableLength = 0): ServerResponse {
  const response = Object.assign(new EventEmitter(), {
    req: { socket: { remoteAddress } },
    writableLength,
    destroy: () => response.emit('close'),
  });
  open.push(name);
  response.once('close', () => {
    open = open.filter((one) => one !== name);
  });
  followers.add(response as unknown as ServerResponse);
  return response as unknown as ServerResponse;
}

describe('where all streams are in use', () => {
  it('a newcomer is served, and the owner with the most loses its oldest', () => {
    follow('a', '10.0.0.1');
    for (const name of ['m1', 'm2', 'm3', 'm4']) follow(name, '10.0.0.66');
    expect(open).toEqual(['a', 'm3', 'm4']);
    follow('b', '10.0.0.2');
    expect(open).toEqual(['a', 'm4', 'b']);
    expect(refusals.counts.get('followers')).toBe(3);
  });

  it('the one with the most unread bytes is closed before the oldest', () => {
    follow('m1', '10.0.0.66');
    follow('m2', '10.0.0.66', 500);
    follow('m3', '10.0.0.66');
    follow('a', '10.0.0.1');
    expect(open).toEqual(['m1', 'm3', 'a']);
  });

  it('the oldest gives way among owners with one each; loopback and the Unix socket are owners as well', () => {
    follow('a', '127.0.0.1');
    follow('b', undefined);
    follow('c', '::ffff:10.0.0.3');
    follow('d', '10.0.0.4');
    expect(open).toEqual(['b', 'c', 'd']);
  });
});

it('a stream that has ended takes no place', () => {
  for (let times = 0; times < 9; times++) follow(`s${times}`, '10.0.0.1').destroy();
  follow('a', '10.0.0.1');
  expect(open).toEqual(['a']);
  expect(refusals.counts.get('followers')).toBe(0);
});
