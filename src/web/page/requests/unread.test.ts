import { expect, it } from 'vitest';
import { leastRead, readText, sumOf } from './unread.ts';

const connections = (more: object = {}) => ({ read: 0, encrypted: 0, other: 0, late: 0, refused: 0, ...more });
const pod = (name: string, more: object) => ({ namespace: 'shop', pod: name, ...connections(more) });

it('says how much is read, and why the rest is not', () => {
  expect(readText(sumOf([connections({ read: 6, late: 2 }), connections({ encrypted: 3, other: 1 })]))).toBe(
    'Requests are read on 60 % of 10 connections; 30 % are encrypted, 10 % speak another protocol, 20 % are older than the probe.',
  );
  expect(readText(connections({ read: 1, refused: 7 }))).toContain(
    '7 segments belong to connections beyond the limit.',
  );
  expect(readText(sumOf([]))).toBe('No connection has shown its protocol yet.');
});

it('names the Pods most of whose connections are not read', () => {
  const pods = [
    pod('web', { read: 9, encrypted: 1 }),
    pod('bank', { encrypted: 4 }),
    pod('db', { other: 30, read: 10 }),
    pod('idle', {}),
  ];
  expect(leastRead(pods)).toEqual(['shop/db (75 % not read)', 'shop/bank (100 % not read)']);
});
