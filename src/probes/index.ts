import { biolatency } from './biolatency.ts';
import { icmp } from './icmp.ts';
import { ip } from './ip.ts';
import { netdev } from './netdev.ts';
import { netiftxlatency } from './netiftxlatency.ts';
import { packetloss } from './packetloss.ts';
import type { AnyProbe } from './probe.ts';
import { qdisc } from './qdisc.ts';
import { sock } from './sock.ts';
import { socketlatency } from './socketlatency.ts';
import { softirq } from './softirq.ts';
import { softnet } from './softnet.ts';
import { tcp } from './tcp.ts';
import { tcpext } from './tcpext.ts';
import { udp } from './udp.ts';

/** Every probe there is, in the order of the page. The only registry. */
export const PROBES: readonly AnyProbe[] = [
  tcp,
  tcpext,
  udp,
  ip,
  icmp,
  sock,
  netdev,
  softnet,
  qdisc,
  packetloss,
  socketlatency,
  netiftxlatency,
  softirq,
  biolatency,
];

/** Other names that a probe may have in the configuration: KubeSkoop's. */
export const PROBE_ALIASES: ReadonlyMap<string, string> = new Map([
  ['net_softirq', 'softirq'],
  ['netif_txlatency', 'netiftxlatency'],
  ['netiftxlat', 'netiftxlatency'],
]);
