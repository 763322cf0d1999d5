import type { ConnectionsRead } from '#api/flows.ts';
import { count, entityName, percent } from '../format.ts';

/** Numbers of connections by whether their requests are read. */
export type Connections = Pick<ConnectionsRead, 'read' | 'encrypted' | 'other' | 'late' | 'refused'>;

const NONE: Connections = { read: 0, encrypted: 0, other: 0, late: 0, refused: 0 };

export function sumOf(pods: readonly Connections[]): Connections {
  return pods.reduce<Connections>(
    (sum, one) => ({
      read: sum.read + one.read,
      encrypted: sum.encrypted + one.encrypted,
      other: sum.other + one.other,
      late: sum.late + one.late,
      refused: sum.refused + one.refused,
    }),
    NONE,
  );
}

function totalOf({ read, encrypted, other }: Connections): number {
  return read + encrypted + other;
}

/**
 * Returns a sentence about how much is read. Without it, a Pod whose requests are all encrypted would look like one
 * without requests.
 */
export function readText(connections: Connections): string {
  const { read, encrypted, other, late, refused } = connections;
  const total = totalOf(connections);
  if (total === 0) return 'No connection has shown its protocol yet.';
  const share = (part: number) => percent(part / total);
  const parts = [
    `${share(encrypted)} are encrypted`,
    `${share(other)} speak another protocol`,
    `${share(late)} are older than the probe`,
  ];
  const left = refused === 0 ? '' : ` ${count(refused)} segments belong to connections beyond the limit.`;
  return `Requests are read on ${share(read)} of ${count(total)} connections; ${parts.join(', ')}.${left}`;
}

const PODS_SHOWN = 3;

/** Returns the Pods most of whose connections are encrypted or unknown, those with most such connections first. */
export function leastRead(pods: readonly ConnectionsRead[]): string[] {
  const hidden = ({ encrypted, other }: Connections) => encrypted + other;
  return pods
    .filter((pod) => hidden(pod) > totalOf(pod) / 2)
    .sort((a, b) => hidden(b) - hidden(a))
    .slice(0, PODS_SHOWN)
    .map((pod) => `${entityName(pod)} (${percent(hidden(pod) / totalOf(pod))} not read)`);
}
