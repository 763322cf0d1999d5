import type { AnyProbe } from '#probe/contract.ts';
import { biolatency } from './biolatency.ts';
import { changes } from './changes/changes.ts';
import { conntrack } from './conntrack/conntrack.ts';
import { dns } from './dns/dns.ts';
import { fd } from './fd.ts';
import { flow } from './flow/flow.ts';
import { http } from './http/http.ts';
import { icmp } from './icmp.ts';
import { io } from './io/io.ts';
import { ip } from './ip.ts';
import { ipvs } from './ipvs.ts';
import { kernellatency } from './kernellatency.ts';
import { lifecycle } from './lifecycle.ts';
import { netdev } from './netdev/netdev.ts';
import { netiftxlatency } from './netiftxlatency.ts';
import { packetloss } from './packetloss/packetloss.ts';
import { qdisc } from './qdisc.ts';
import { rdma } from './rdma/rdma.ts';
import { sock } from './sock.ts';
import { socketlatency } from './socketlatency.ts';
import { softirq } from './softirq.ts';
import { softnet } from './softnet.ts';
import { tcp } from './tcp.ts';
import { tcpconnect } from './tcpconnect.ts';
import { tcpext } from './tcpext/tcpext.ts';
import { tcpreset } from './tcpreset/tcpreset.ts';
import { tcpretrans } from './tcpretrans.ts';
import { tcpsummary } from './tcpsummary/tcpsummary.ts';
import { tooluse } from './tooluse/tooluse.ts';
import { udp } from './udp.ts';
import { udpflow } from './udpflow/udpflow.ts';
import { virtcmdlatency } from './virtcmdlatency.ts';

/** All probes, in the order in which they appear on the page. There is no other registry of probes. */
const LIST = [
  tcp,
  tcpext,
  udp,
  ip,
  icmp,
  sock,
  netdev,
  softnet,
  ipvs,
  fd,
  io,
  rdma,
  tcpsummary,
  tcpconnect,
  flow,
  conntrack,
  qdisc,
  changes,
  lifecycle,
  tooluse,
  packetloss,
  tcpretrans,
  tcpreset,
  udpflow,
  dns,
  http,
  socketlatency,
  kernellatency,
  netiftxlatency,
  softirq,
  virtcmdlatency,
  biolatency,
] as const satisfies readonly AnyProbe[];

export const PROBES: readonly AnyProbe[] = LIST;

type EventsOf<P> = P extends { readonly events: infer E } ? keyof E & string : never;

/** Names of the event types of all probes. */
export type EventType = EventsOf<(typeof LIST)[number]>;

/** Names of probes in KubeSkoop, which the configuration accepts as aliases. */
export const PROBE_ALIASES: ReadonlyMap<string, string> = new Map([
  ['net_softirq', 'softirq'],
  ['netif_txlatency', 'netiftxlatency'],
  ['netiftxlat', 'netiftxlatency'],
]);
