import type { PeerCredentials } from 'bpf-napi';
import type { ToolUse } from '#api/tool_use.ts';
import { TOOL_COMMANDS, type ToolCommand } from '#api/words.ts';
import { toCounter } from '#core/counter.ts';
import { visible } from '#core/inert.ts';
import { asNetnsId } from '#core/netns.ts';
import { RateBuckets } from '#core/rate_buckets.ts';
import { defineProbe, type ProbeScope } from '#probe/contract.ts';
import { defineEvents, type EventBody } from '#probe/event.ts';
import { EVENT_LEDGER } from '#probe/ledger.ts';
import { defineMetrics, NODE } from '#probe/metric.ts';
import { defineRetained } from '#probe/retained.ts';
import { REFUSALS, type Refusal, ToolSocket } from './tool_socket.ts';

// Commands announce the network namespaces that they enter, by the cookie. The agent finds the Pod itself.

const metrics = defineMetrics({
  uses: {
    type: 'counter',
    scope: 'node',
    name: 'netsonde_tool_uses_total',
    help: 'Uses of commands that read packets of a Pod or send packets as a Pod.',
    source: 'announcements of the commands',
    detail: 'core',
    labels: { command: { help: 'Command of `netsonde`.', values: TOOL_COMMANDS } },
  },
  refusals: {
    type: 'counter',
    scope: 'node',
    name: 'netsonde_tool_announcements_refused_total',
    help: 'Announcements of commands that the agent did not record as events, by reason.',
    source: 'announcements of the commands',
    detail: 'core',
    labels: {
      reason: {
        help: 'Another user than root and that of the agent, a malformed or late announcement, more than `limit` a second, or events that are switched off.',
        values: REFUSALS,
      },
    },
  },
});

const events = defineEvents({
  tool_used: {
    help: 'A command of `netsonde` reads packets of this Pod, or sends packets as this Pod.',
    severity: 'info',
    equalBy: ['command', 'request', 'filter', 'uid', 'pid'],
    fields: {
      command: { type: 'string', help: 'Command: `capture` or `reach`.' },
      request: {
        type: 'string',
        help: 'Description by the command itself, such as `packets, 256 bytes of each, for at most 30 s`.',
      },
      filter: { type: 'string', help: 'Expression that selects packets.', optional: true },
      uid: { type: 'number', help: 'ID of the user who runs the command, according to the kernel.' },
      pid: {
        type: 'number',
        help: 'ID of the process of the command, if the agent can see it.',
        optional: true,
      },
    },
  },
});

type UseEvent = EventBody<(typeof events)['tool_used']>;

const NANOSECONDS_PER_MS = 1_000_000n;

/** Counts of all runs of this probe. */
const COUNTS = defineRetained(() => ({
  uses: new Map<ToolCommand, number>(),
  refusals: new Map<Refusal, number>(),
}));

/** Returns the events of a use: one for each namespace. */
function eventsOf({ command, netns, request, filter }: ToolUse, { uid, pid }: PeerCredentials): UseEvent[] {
  const selected = filter === undefined ? '' : ` that match \`${visible(filter)}\``;
  const process = pid === 0 ? '' : ` (process ${pid})`;
  return [...new Set(netns)].map((cookie) => ({
    timeNs: BigInt(Date.now()) * NANOSECONDS_PER_MS,
    netns: asNetnsId(toCounter(BigInt.asUintN(64, BigInt(cookie)))),
    fields: {
      command,
      request,
      ...(filter === undefined ? {} : { filter }),
      uid,
      ...(pid === 0 ? {} : { pid }),
    },
    message: `User ${uid}${process} runs \`netsonde ${command}\`: ${visible(request)}${selected}.`,
  }));
}

/** Publishes the events of a use. Returns false if there were too many in a short time. */
function tell(scope: ProbeScope<typeof events>, buckets: RateBuckets, told: readonly UseEvent[]): boolean {
  const ledger = scope.retained(EVENT_LEDGER);
  const isAdmitted = buckets.admit('uses');
  const count = BigInt(told.length);
  const { produced, limited, lost } = ledger.value;
  ledger.value = { produced: produced + count, limited: limited + (isAdmitted ? 0n : count), lost };
  if (isAdmitted) for (const event of told) scope.publish('tool_used', event);
  return isAdmitted;
}

export const tooluse = defineProbe({
  name: 'tooluse',
  kind: 'socket',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'Uses of `netsonde capture` and `netsonde reach` on this node: an event for each, which names the Pod, the user and the filter.',
  guide: {
    question: 'Who captured packets of a Pod, or sent packets as a Pod, with the tools of netsonde?',
    when: 'Look here if packets of a Pod may have been read, or if a Pod seems to have sent requests that its application did not send.',
    query: 'sum by (node, command) (increase(netsonde_tool_uses_total[1d])) > 0',
    limits: [
      'Only commands of netsonde announce themselves. A user with the same rights can run other tools, such as tcpdump, which cause no event.',
      'The kernel vouches for the user and the process. The request and the filter are what the command says.',
      'Only root and the user of the agent can announce a use, and only from the network namespace of the agent.',
      'At most `limit` uses per second cause events. The command tells its user if its use was not recorded.',
    ],
  },
  metrics,
  events,
  options: {},
  inPlace: ['limit'],
  requires: { capabilities: [], kernel: 'Any.' },
  measured: { note: 'Sleeps until a command announces itself.' },
  open: async (scope, _sources, settings) => {
    const { uses, refusals } = scope.retained(COUNTS).value;
    const buckets = new RateBuckets(settings.limit);
    scope.own(
      await ToolSocket.open({
        name: scope.toolSocket,
        used: (use, by) => {
          uses.set(use.command, (uses.get(use.command) ?? 0) + 1);
          if (!settings.events) return 'off';
          return tell(scope, buckets, eventsOf(use, by)) ? undefined : 'rate';
        },
        refused: (reason) => void refusals.set(reason, (refusals.get(reason) ?? 0) + 1),
      }),
    );
    return {
      apply: ({ limit }) => {
        buckets.perSecond = limit;
        return true;
      },
      health: () => ({ reader: 'socket', degraded: [] }),
      ledger: () => scope.retained(EVENT_LEDGER).value,
      collect: async (emit) => {
        for (const command of TOOL_COMMANDS) emit('uses', NODE, uses.get(command) ?? 0, { command });
        for (const reason of REFUSALS) emit('refusals', NODE, refusals.get(reason) ?? 0, { reason });
      },
    };
  },
});
