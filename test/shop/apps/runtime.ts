import { createInterface } from 'node:readline';
import { type Counts, clientCounts, countSockets, serverCounts } from './counts.ts';

/** A line that a program of the shop reads from its standard input. */
export type Order = { readonly fault: string; readonly on: boolean } | { readonly report: number };

/** A line that a program writes to its standard output when it is ready, and for each `report`. */
export type Answer =
  | { readonly ready: true }
  | {
      readonly report: number;
      readonly clients: Readonly<Record<string, Counts>>;
      readonly servers: Readonly<Record<string, Counts>>;
      /** Numbers of requests that this program sent or answered, by outcome. */
      readonly requests: Readonly<Record<string, number>>;
    };

const active = new Set<string>();
const followers = new Map<string, (on: boolean) => void>();
const requests: Record<string, number> = {};

export function hasFault(name: string): boolean {
  return active.has(name);
}

/** Calls `follow` when a fault is switched on or off. */
export function onFault(name: string, follow: (on: boolean) => void): void {
  followers.set(name, follow);
}

export function countRequest(outcome: string): void {
  requests[outcome] = (requests[outcome] ?? 0) + 1;
}

export function say(answer: Answer): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

/** Executes orders from standard input. The process exits at the end of standard input. */
export function obey(): void {
  countSockets();
  createInterface({ input: process.stdin }).on('line', (line) => {
    const order = JSON.parse(line) as Order;
    if ('report' in order) {
      say({ report: order.report, clients: clientCounts(), servers: serverCounts(), requests });
      return;
    }
    if (order.on) active.add(order.fault);
    else active.delete(order.fault);
    followers.get(order.fault)?.(order.on);
  });
  process.stdin.on('end', () => process.exit());
}
