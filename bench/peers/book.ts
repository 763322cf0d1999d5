import { randomUUID } from 'node:crypto';
import { KnownUids } from '#kubernetes/known_uids.ts';
import { AddressBook } from '#peers/address_book.ts';
import { type Row, rssAnonOf } from '../measure.ts';
import { ipOf } from './objects.ts';

const ADDRESSES = 100_000;
/** Number of addresses that are added before the measurement so that the code has been optimized by then. */
const WARM = 20_000;
const PODS_PER_WORKLOAD = 20;
const LOOKUPS = 1_000_000;

/**
 * Measures the resident memory of 100,000 addresses, one per Pod, and the time to add and to look up an address. Runs
 * in its own process with the agent's Node.js options, and sends its rows in response to a message.
 */
function benchBook(): Row[] {
  const bytes = () => {
    globalThis.gc?.();
    return rssAnonOf('self');
  };
  const book = new AddressBook();
  const known = new KnownUids();
  const fill = (from: number, to: number) => {
    for (let nth = from; nth < to; nth++) {
      const workload = `service-${Math.floor(nth / PODS_PER_WORKLOAD)}`;
      const name = `${workload}-7d9f8b6c5d-${(nth % PODS_PER_WORKLOAD).toString(36).padStart(5, 'x')}`;
      const owner = { kind: 'pod', namespace: `team-${nth % 50}`, name, group: workload, zone: 'node-7' } as const;
      book.set(randomUUID(), [{ ...owner, createdMs: nth, ips: [ipOf(10, nth)] }], false);
    }
  };
  const know = (count: number) => {
    for (let nth = 0; nth < count; nth++) known.add(randomUUID(), true);
  };
  fill(0, WARM);
  know(WARM);
  const before = bytes();
  const startMs = performance.now();
  fill(WARM, ADDRESSES);
  const filledMs = performance.now();
  const ofBook = bytes() - before;
  know(ADDRESSES - WARM);
  const ofUids = bytes() - before - ofBook;
  const lookedUpMs = performance.now();
  let found = 0;
  for (let nth = 0; nth < LOOKUPS; nth++) if (book.find(ipOf(10, nth % (2 * ADDRESSES))) !== undefined) found++;
  const endMs = performance.now();
  if (found !== LOOKUPS / 2 || known.size !== ADDRESSES) throw new Error('the address book is wrong');
  const added = ADDRESSES - WARM;
  const bench = `${ADDRESSES} addresses of as many Pods`;
  return [
    { bench, what: 'address book, for each address', value: ofBook / added, unit: 'bytes' },
    { bench, what: 'UIDs in the reflector, for each object', value: ofUids / added, unit: 'bytes' },
    {
      bench,
      what: 'time to fill the book, for each address',
      value: ((filledMs - startMs) * 1_000) / added,
      unit: 'µs',
    },
    { bench, what: 'time of a lookup', value: ((endMs - lookedUpMs) * 1_000) / LOOKUPS, unit: 'µs' },
  ];
}

process.once('message', () => {
  process.send?.(benchBook());
  process.disconnect();
});
