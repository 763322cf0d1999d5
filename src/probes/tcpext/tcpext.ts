import * as z from 'zod';
import { defineProbe, type ProbeContext } from '#probe/contract.ts';
import { fieldsOf, type MibField, runMibFields } from '#probe/mib_fields.ts';
import { readText } from '#sources/procfs/read.ts';
import { parseSnmp } from '#sources/procfs/snmp.ts';
import { metrics } from './tcpext_metrics.ts';

// These metrics are per network namespace. Every struct net has its own linux_mib (kernel: net/ipv4/proc.c,
// netstat_seq_show()).

const ABORTS: Readonly<Record<string, string>> = {
  close: 'TCPAbortOnClose',
  data: 'TCPAbortOnData',
  failed: 'TCPAbortFailed',
  linger: 'TCPAbortOnLinger',
  memory: 'TCPAbortOnMemory',
  timeout: 'TCPAbortOnTimeout',
};

const SKIPPED: Readonly<Record<string, string>> = {
  syn_recv: 'TCPACKSkippedSynRecv',
  paws: 'TCPACKSkippedPAWS',
  seq: 'TCPACKSkippedSeq',
  fin_wait2: 'TCPACKSkippedFinWait2',
  time_wait: 'TCPACKSkippedTimeWait',
  challenge: 'TCPACKSkippedChallenge',
};

const byCause = (metric: string, fields: Readonly<Record<string, string>>): MibField[] =>
  Object.entries(fields).map(([cause, field]) => ({ metric, table: 'TcpExt', field, labels: { cause } }));

/** Fields that have a metric of their own. */
const NAMED: readonly MibField[] = [
  ...fieldsOf(metrics),
  ...byCause('aborts', ABORTS),
  ...byCause('acksSkipped', SKIPPED),
];

/** Returns those fields of this kernel that have no metric of their own. */
function otherFields({ paths, errors }: ProbeContext): MibField[] {
  const text = readText(`${paths.proc}/self/net/netstat`) ?? '';
  const table = parseSnmp(text, errors.malformed('procfs', 'net/netstat')).get('TcpExt') ?? new Map();
  const named = new Set(NAMED.map(({ field }) => field));
  return [...table.keys()]
    .filter((field) => !named.has(field))
    .map((field) => ({ metric: 'fields', table: 'TcpExt', field, labels: { field } }));
}

export const tcpext = defineProbe({
  name: 'tcpext',
  kind: 'procfs',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'Detailed TCP counters: full queues, timeouts, retransmissions by cause, aborts and zero windows. Recommended everywhere.',
  guide: {
    question: 'Why is TCP slow in a Pod: full queues, timeouts, closed windows or memory shortage?',
    when: 'Look here when `tcp` shows retransmissions or when clients wait for connections.',
    query: 'sum by (namespace, pod) (rate(netsonde_tcp_listen_overflows_total[5m])) > 0',
    limits: [
      'By default only full queues, DSACKs and losses repaired by tail loss probes are shown. All other metrics need `detail: full`.',
      'Fields that the kernel lacks have no series. The fields differ between kernels.',
    ],
  },
  metrics,
  events: {},
  options: {
    fields: z
      .enum(['named', 'all'])
      .default('named')
      .describe(
        '`all` adds every other field of this kernel as netsonde_tcpext_fields_total, which is about 60 series per Pod.',
      ),
  },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel:
      'Any. Since 5.19 and with BTF, one walk in the kernel reads all namespaces; otherwise by /proc/<pid>/net/netstat.',
  },
  measured: { collect: { ms: 0.4, withoutMs: 1.4 } },
  open: (scope, sources, { options }) =>
    runMibFields(scope, sources, options.fields === 'all' ? [...NAMED, ...otherFields(scope)] : NAMED),
});
