import { runWith } from './command.ts';
import { LINK_B, type TestNetns } from './hosts.ts';

const PROGRAM = `
import socket, struct, sys
sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sender.bind((sys.argv[1], 0))
addresses = bytes.fromhex('${LINK_B.replaceAll(':', '')}020000000001')
for line in sys.stdin:
    sender.send(addresses + struct.pack('!H', int(sys.argv[2])) + bytes.fromhex(line))
`;

/** Sends Ethernet frames from a device of a namespace to host b of a pair, each with these bytes from the network header on. */
export function sendFrames({ name }: TestNetns, device: string, ethertype: number, packets: readonly Buffer[]): void {
  const input = packets.map((bytes) => `${bytes.toString('hex')}\n`).join('');
  runWith(input, 'ip', 'netns', 'exec', name, 'python3', '-c', PROGRAM, device, String(ethertype));
}
