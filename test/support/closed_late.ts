import { BpfMap, type MapDump } from 'bpf-napi';
import { flowField, flowRow } from '#bpf/generated/common.ts';
import { TcpWalk } from '#sources/sockets/tcp_walk.ts';

/** BPF maps whose values are of type struct flow_row. */
const ROWS: readonly string[] = ['flow_rows', 'flow_rest'];
const FIELDS = Object.keys(flowField).length;

function addClosed({ count, view, valueAt }: MapDump): void {
  const { closed, now } = flowRow.offsets;
  for (let index = 0; index < count; index++) {
    for (let field = 0; field < FIELDS; field++) {
      const at = valueAt(index) + 8 * field;
      view.setBigUint64(at + now, view.getBigUint64(at + now, true) + view.getBigUint64(at + closed, true), true);
    }
  }
}

/**
 * Until disposed, makes agents of this process count closed sockets after open sockets. A socket that is closed in
 * between is then counted twice, and every test of flows must detect that.
 */
export function countClosedLate(): Disposable {
  const { open } = TcpWalk;
  const { dump } = BpfMap.prototype;
  TcpWalk.open = (bpf, namespaces, list, errors, options) =>
    open.call(TcpWalk, bpf, namespaces, list, errors, { ...options, closedLate: true });
  BpfMap.prototype.dump = function late(this: BpfMap) {
    const dumped = dump.call(this);
    if (ROWS.includes(this.name)) addClosed(dumped);
    return dumped;
  };
  return {
    [Symbol.dispose]: () => {
      TcpWalk.open = open;
      BpfMap.prototype.dump = dump;
    },
  };
}
