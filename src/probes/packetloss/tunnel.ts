import * as z from 'zod';
import { packetTuple } from '#bpf/generated/common.ts';
import { packetTunnel, tunnelKind, tunnelLimit } from '#bpf/generated/packetloss.ts';
import { nameOf } from '#bpf/layout.ts';
import { decodeTuple } from '#probe/scene.ts';

/** Event fields about the packet inside of a tunnel's packet. */
export const TUNNEL_FIELDS = {
  tunnel: {
    type: 'string',
    help: 'Tunnel of the packet: `vxlan`, `geneve`, `gre`, `ipip` (IPv4 inside) or `ip6` (IPv6 inside, such as 6in4).',
    optional: true,
  },
  tunnelId: {
    type: 'number',
    help: 'Network identifier (VNI) of VXLAN or Geneve, or key of GRE.',
    optional: true,
  },
  innerSrc: {
    type: 'string',
    private: 'peers',
    help: 'Source of the packet in the tunnel. `peer`, `srcOwner` and `dstOwner` are then the owners of the inner addresses.',
    optional: true,
  },
  innerDst: { type: 'string', private: 'peers', help: 'Destination of the packet in the tunnel.', optional: true },
  innerProtocol: { type: 'string', help: 'Protocol of the packet in the tunnel.', optional: true },
} as const;

export interface TunnelFields {
  readonly tunnel?: string;
  readonly tunnelId?: number;
  readonly innerSrc?: string;
  readonly innerDst?: string;
  readonly innerProtocol?: string;
}

export const TUNNEL_OPTIONS = {
  tunnels: z
    .boolean()
    .default(true)
    .describe(
      'Add the addresses in a tunnel to events of its packets. Each such event then costs 0.2 µs more; a drop without an event costs the same.',
    ),
  vxlanPorts: z
    .array(z.int().min(1).max(65_535))
    .max(tunnelLimit.vxlan_ports)
    .default([4_789, 8_472])
    .describe('UDP ports of VXLAN; at most four. The kernel uses 8472 unless the CNI plugin sets a port.'),
};

/** Returns the settings of common/tunnel.bpf.h. */
export function tunnelSettings({
  tunnels,
  vxlanPorts,
}: {
  readonly tunnels: boolean;
  readonly vxlanPorts: readonly number[];
}) {
  const ports = Uint16Array.from({ length: tunnelLimit.vxlan_ports }, (_, index) => vxlanPorts[index] ?? 0);
  return { with_tunnels: tunnels, vxlan_ports: new Uint8Array(ports.buffer) };
}

/** Decodes a struct packet_tunnel. Fields that could not be read are left out. */
export function decodeTunnel(view: DataView, at: number): TunnelFields {
  const tunnel = nameOf(tunnelKind, packetTunnel.kind(view, at));
  if (tunnel === undefined || tunnel === 'none') return {};
  const inner = at + packetTunnel.offsets.inner;
  const { src, dst, protocol } = decodeTuple(view, inner);
  return {
    tunnel,
    ...(packetTunnel.hasId(view, at) === 0 ? {} : { tunnelId: packetTunnel.id(view, at) }),
    ...(src === undefined || dst === undefined ? {} : { innerSrc: src, innerDst: dst }),
    ...(packetTuple.ethertype(view, inner) === 0 ? {} : { innerProtocol: protocol }),
  };
}

/** Describes the packet in a tunnel, to be appended to the description of the outer packet. */
export function describeTunnel({ tunnel, tunnelId, innerSrc, innerDst, innerProtocol }: TunnelFields): string {
  if (tunnel === undefined) return '';
  const id = tunnelId === undefined ? '' : ` ${tunnelId}`;
  const path = innerSrc === undefined ? '' : ` from ${innerSrc} to ${innerDst}`;
  return innerProtocol === undefined ? `, ${tunnel}${id}` : `, with ${innerProtocol}${path} in ${tunnel}${id}`;
}
