import { expect, it } from 'vitest';
import { attribute, join, message } from '../../../test/support/netlink.ts';
import { type ConnectionTuple, decodeLookup, encodeLookup } from './conntrack_lookup.ts';

const NEW = 0x100;
const GET = 0x101;
const ESTABLISHED = 3;

interface Ends {
  readonly source: readonly number[];
  readonly target: readonly number[];
  readonly ports: readonly [number, number];
}

const big = (port: number) => Uint8Array.of(port >> 8, port & 0xff);

/** Returns the attributes of a tuple. The types depend on the family: v4_src 1, v4_dst 2, v6_src 3, v6_dst 4. */
function tuple({ source, target, ports }: Ends): Buffer {
  const first = source.length === 4 ? 1 : 3;
  return join(
    attribute(1, join(attribute(first, Uint8Array.from(source)), attribute(first + 1, Uint8Array.from(target)))),
    attribute(2, join(attribute(1, Uint8Array.of(6)), attribute(2, big(ports[0])), attribute(3, big(ports[1])))),
  );
}

function entry(original: Ends, reply: Ends, state = ESTABLISHED): Buffer {
  const info = attribute(4, attribute(1, attribute(1, Uint8Array.of(state))));
  const header = Uint8Array.of(original.source.length === 4 ? 2 : 10, 0, 0, 0);
  return message(NEW, join(header, attribute(1, tuple(original)), attribute(2, tuple(reply)), info));
}

function asTuple({ source, target, ports }: Ends): ConnectionTuple {
  return {
    local: Uint8Array.from(source),
    localPort: ports[0],
    peer: Uint8Array.from(target),
    peerPort: ports[1],
  };
}

const six = (last: number) => [0xfd, 9, ...new Array<number>(13).fill(0), last];

it.each([
  ['IPv4', (last: number) => [10, 0, 0, last]],
  ['IPv6', six],
] as const)('asks for a connection and finds both ends, over %s', (_, address) => {
  const [client, node, server, service] = [address(7), address(1), address(9), address(99)];
  const original: Ends = { source: client, target: service, ports: [40_000, 80] };
  const reply: Ends = { source: server, target: node, ports: [8_080, 50_000] };
  const answer = entry(original, reply);
  const find = (asked: Ends) => decodeLookup(answer, asTuple(asked), expect.unreachable);
  expect(find(original)).toEqual({ isReply: false, state: ESTABLISHED, other: Uint8Array.from(server) });
  expect(find(reply)).toEqual({ isReply: true, state: ESTABLISHED, other: Uint8Array.from(client) });
  const family = client.length === 4 ? 2 : 10;
  const request = message(GET, join(Uint8Array.of(family, 0, 0, 0), attribute(1, tuple(original))), 1);
  expect(Buffer.from(encodeLookup(asTuple(original)))).toEqual(request);
});

it('counts an answer without addresses or without the state of TCP', () => {
  const ends: Ends = { source: [10, 0, 0, 1], target: [10, 0, 0, 2], ports: [1, 2] };
  const problems: string[] = [];
  const header = Uint8Array.of(2, 0, 0, 0);
  for (const answer of [
    message(NEW, header),
    message(NEW, join(header, attribute(1, tuple(ends)), attribute(2, tuple(ends)))),
    new Uint8Array(),
  ]) {
    expect(decodeLookup(answer, asTuple(ends), (what) => problems.push(what))).toBeUndefined();
  }
  expect(problems).toHaveLength(3);
});
