export { BpfError, type BpfErrorCode } from './errors.ts';
export { BpfLink } from './link.ts';
export { BpfMap, type MapDump } from './map.ts';
export { type EchoResult, unavailable } from './native.ts';
export {
  BpfObject,
  type BpfProgram,
  type BpfProgramInfo,
  type IteratorOptions,
  type PacketRun,
  type PacketRunOptions,
} from './object.ts';
export { acceptAll, COOKED_LINK_TYPE, PacketFilter } from './packet_filter.ts';
export { type PacketBatch, type PacketCounts, PacketRing, type PacketRingOptions } from './packets.ts';
export { exitNow, tryLock } from './process.ts';
export { BpfRing, type RingBatch, type RingOptions, type RingWakeUp } from './ring.ts';
export { type NetlinkBatch, NetlinkSubscription, type NetlinkSubscriptionOptions } from './subscription.ts';
export {
  BpfStats,
  clockOffset,
  echo,
  enterNetns,
  jiffiesPerSecond,
  libbpfVersion,
  type NetlinkAnswer,
  netlinkDump,
  netlinkDumpAsync,
  netnsCookie,
  type PeerCredentials,
  peerCredentials,
  refusedCalls,
  type SystemCall,
  withNetns,
} from './system.ts';
