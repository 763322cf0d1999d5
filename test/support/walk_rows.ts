import { freeCycle } from '#core/cycle.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { MibWalk } from '#sources/mib/walk.ts';
import { cpusOf } from '#sources/procfs/cpus.ts';
import { OBJECTS } from './kernel.ts';

/**
 * Prints the number of received segments and datagrams of every namespace, by cookie. The walk runs in the namespace of
 * this process.
 */
using pass = await MibWalk.open(new BpfSource(OBJECTS, '/sys'), cpusOf('/sys'));
const snapshot = await pass.read(freeCycle());
const columns = [snapshot.column('Tcp', 'InSegs'), snapshot.column('Udp', 'InDatagrams')];
const rows = snapshot.ids.map((id, row) => [
  String(id),
  columns.map((column) => (column === undefined ? null : Number(snapshot.value(row, column)))),
]);
process.stdout.write(JSON.stringify(Object.fromEntries(rows)));
