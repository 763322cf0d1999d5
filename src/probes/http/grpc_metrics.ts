import { httpCause, httpRole } from '#bpf/generated/common.ts';
import { grpcDetail, grpcOutcome } from '#bpf/generated/http2.ts';
import { nameOf, namesOf } from '#bpf/layout.ts';
import type { Counter } from '#core/counter.ts';
import type { NetnsId } from '#core/netns.ts';
import { defineMetrics, type Emit } from '#probe/metric.ts';
import type { PlaceRow } from '#probe/place_rows.ts';
import type { Exemplars } from './exemplars.ts';
import { BUCKETS, CAUSES, countOf, type Durations, durationOf, durationsOf, forEachGroup } from './http_rows.ts';

/** Codes by their number (https://grpc.github.io/grpc/core/md_doc_statuscodes.html). */
const CODES = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const;
const OUTCOMES = namesOf(grpcOutcome);

export type Code = (typeof CODES)[number] | (typeof OUTCOMES)[number];

/** Methods of a Pod that have names of their own. The kernel has the same limit (GRPC_NAMES_MAX). */
const METHODS_MAX = 64;
/** Stands for all methods without a name of their own. */
export const OTHER_METHODS = '*';

const role = { help: 'Role of the Pod in the connection.', values: namesOf(httpRole) };
const common = { scope: 'pod', source: 'cgroup_skb, map http_rows', detail: 'core' } as const;

export const GRPC_METRICS = defineMetrics({
  calls: {
    ...common,
    type: 'counter',
    name: 'netsonde_grpc_calls_total',
    help: 'Calls of gRPC that have ended, by method and code.',
    labels: {
      role,
      method: {
        help: 'Method with its service, such as `/shop.Cart/Get`; `*` for all methods of which netsonde does not know the name or, after the first 64 of a Pod, does not keep it.',
        example: '/shop.Cart/Get',
        max: METHODS_MAX,
      },
      code: {
        help: 'Code in the header `grpc-status`; none: the call ended without it; reset: one end has reset the stream, as clients do when they cancel a call or its deadline has passed; unseen: netsonde could not see it, see `netsonde_grpc_unseen_total`.',
        values: [...CODES, ...OUTCOMES],
      },
    },
  },
  callDurations: {
    ...common,
    type: 'histogram',
    unit: 'seconds',
    buckets: BUCKETS,
    name: 'netsonde_grpc_duration_seconds',
    help: 'Time from the first byte of a gRPC call to the last byte of its response, at the socket of the Pod. Calls that were reset are not included.',
    labels: { role },
  },
  unseen: {
    ...common,
    type: 'counter',
    name: 'netsonde_grpc_unseen_total',
    help: 'Calls of gRPC whose code netsonde could not see, by cause.',
    labels: { role, cause: { help: 'As in `netsonde_http_unknown_total`.', values: CAUSES } },
  },
});

interface Calls extends Durations {
  readonly subject: NetnsId;
  readonly role: keyof typeof httpRole;
  readonly code: Code;
  readonly cause: keyof typeof httpCause;
  /** Hash of the method; 0 for those without a name of their own. */
  readonly name: number;
  readonly count: Counter;
}

/** Value of `method` in the detail of a row that counts calls (METHOD_GRPC). */
export const METHOD_GRPC = 0xff;

/** Returns whether a row counts gRPC calls instead of requests. */
export function countsCalls({ detail }: PlaceRow): boolean {
  const view = new DataView(new ArrayBuffer(grpcDetail.SIZE));
  view.setBigUint64(0, BigInt(detail), true);
  return grpcDetail.method(view, 0) === METHOD_GRPC;
}

/** Codes that are errors of the server. The programs have the same set (GRPC_FAILURES). */
const FAILURES: ReadonlySet<Code> = new Set<Code>([
  'UNKNOWN',
  'DEADLINE_EXCEEDED',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'none',
  'reset',
]);

/** Returns whether a call with this code is considered failed. */
export function isFailedCall(code: Code): boolean {
  return FAILURES.has(code);
}

export function codeName(code: number): Code {
  return CODES[code] ?? nameOf(grpcOutcome, code) ?? 'UNKNOWN';
}

function decode(row: PlaceRow): Calls {
  const view = new DataView(new ArrayBuffer(grpcDetail.SIZE));
  view.setBigUint64(0, BigInt(row.detail), true);
  return {
    ...durationsOf(row.words),
    subject: row.subject,
    role: nameOf(httpRole, grpcDetail.role(view, 0)) ?? 'client',
    code: codeName(grpcDetail.code(view, 0)),
    cause: nameOf(httpCause, grpcDetail.cause(view, 0)) ?? 'nothing',
    name: grpcDetail.name(view, 0),
    count: row.words[0] ?? 0,
  };
}

/**
 * Emits the metrics of calls.
 * @param methodOf returns the method with a hash; undefined if it is not known
 * @param exemplars undefined if there are none
 */
export function emitCalls(
  emit: Emit<typeof GRPC_METRICS>,
  rows: readonly PlaceRow[],
  methodOf: (name: number) => string | undefined,
  exemplars?: Pick<Exemplars, 'of'>,
): void {
  const all = rows.filter(countsCalls).map(decode);
  forEachGroup(
    all,
    ({ role, name, code }) => ({ role, method: methodOf(name) ?? OTHER_METHODS, code }),
    (subject, labels, group) => emit('calls', subject, countOf(group), labels),
  );
  forEachGroup(
    all,
    ({ role }) => ({ role }),
    (subject, labels, group) => {
      const timed = group.filter(({ sumNs }) => sumNs !== 0);
      if (timed.length === 0) return;
      const found = exemplars?.of(subject, labels.role, 'call');
      emit('callDurations', subject, { ...durationOf(timed), ...(found && { exemplars: found }) }, labels);
    },
  );
  forEachGroup(
    all,
    ({ role, cause }) => (cause === 'nothing' ? undefined : { role, cause }),
    (subject, labels, group) => emit('unseen', subject, countOf(group), labels),
  );
}
