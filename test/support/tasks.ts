import { freeCycle } from '#core/cycle.ts';
import { openNetnsObject } from '#sources/bpf/netns_object.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { pidNamespaceLevels } from '#sources/procfs/pid_namespace.ts';
import { OBJECTS } from './kernel.ts';

/**
 * Prints how many levels this process's PID namespace is below that of /proc, and lists the processes that have a PID
 * in the PID namespace of /proc.
 */
const own = pidNamespaceLevels('/proc');
using lists = await openNetnsObject(new BpfSource(OBJECTS, '/sys'), own);
const pids: number[] = [];
await lists.tasks?.read(({ pid }) => pids.push(pid), freeCycle());
process.stdout.write(JSON.stringify({ own, pids }));
