import { BpfError, netlinkDump, withNetns } from 'bpf-napi';
import { portOf } from '#core/address.ts';
import { decodeListeners, LISTENER_REQUESTS, type ListenerRow } from '#sources/netlink/inet_diag.ts';
import { NETLINK } from '#sources/netlink/message.ts';
import { fullness } from '#sources/sockets/snapshot.ts';
import type { Listening, WitnessEvent } from '#why/evidence.ts';
import { pathOf } from '../capture/place.ts';

const ANSWER_BYTES_MAX = 16 * 1024 ** 2;

/** The listening sockets of a server whose network namespace is on this node. */
export class ListeningSockets {
  readonly #path: string;
  readonly #before: ReadonlyMap<bigint, number>;

  private constructor(path: string, before: readonly ListenerRow[]) {
    this.#path = path;
    this.#before = new Map(before.map(({ cookie, drops }) => [cookie, drops]));
  }

  /** Reads the sockets before the trial. Returns undefined if the namespace cannot be entered from here. */
  static async open(netns: bigint): Promise<ListeningSockets | undefined> {
    try {
      const path = await pathOf(netns);
      return path === undefined ? undefined : new ListeningSockets(path, read(path));
    } catch (error) {
      if (error instanceof BpfError) return undefined;
      throw error;
    }
  }

  /** Returns what the sockets that listen on a port have done since. */
  since(port: number): Listening | undefined {
    try {
      const rows = read(this.#path).filter((row) => row.port === port);
      const drops = rows.reduce((sum, { cookie, drops: all }) => sum + all - (this.#before.get(cookie) ?? 0), 0);
      const isFull = rows.some(
        ({ receiveQueue, sendQueue }) => fullness({ length: receiveQueue, limit: sendQueue }) >= 1,
      );
      return { port, drops, isFull };
    } catch (error) {
      if (error instanceof BpfError) return undefined;
      throw error;
    }
  }
}

function read(path: string): ListenerRow[] {
  return Object.values(LISTENER_REQUESTS).flatMap((request) => {
    const { messages } = withNetns(path, () => netlinkDump(NETLINK.sockDiag, request, ANSWER_BYTES_MAX));
    return decodeListeners(messages, () => undefined);
  });
}

/** Returns the port on which the server listens, which a Service may translate. */
export function listeningPort(port: number, events: readonly WitnessEvent[]): number {
  const server = events.map((event) => event['connectionServer']).find((end) => typeof end === 'string');
  return (server === undefined ? undefined : portOf(server)) ?? port;
}
