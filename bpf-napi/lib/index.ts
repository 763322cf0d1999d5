export { BpfError, type BpfErrorCode } from './errors.ts';
export { BpfMap, type MapDump } from './map.ts';
export { unavailable } from './native.ts';
export { BpfObject, type BpfProgram, type BpfProgramInfo } from './object.ts';
export { BpfRing, type RingBatch, type RingOptions } from './ring.ts';
export {
  BpfStats,
  clockOffset,
  jiffiesPerSecond,
  libbpfVersion,
  type NetlinkAnswer,
  netlinkDump,
  netlinkDumpAsync,
  netnsCookie,
  withNetns,
} from './system.ts';
