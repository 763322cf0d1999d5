import { addressOf, portOf } from '#core/address.ts';
import type { NetnsId } from '#core/netns.ts';
import type { RecordBody, RecordOffer, RecordRules } from '#probe/records.ts';
import { describeReport, type HttpReport } from './http_report.ts';

/** Kind of records about single requests. */
export const HTTP_RECORDS: RecordOffer = {
  kind: 'request',
  help: 'A record describes an HTTP request, as seen by one of its ends. A request is considered failed if its status is 500 to 599, if the code of the gRPC call stands for an error of the server, or if it got no complete response. `slow` is compared with the time to the first byte of the response. `sample` draws the same requests at both ends. The kernel sends only the requests that the rules select.',
};

const MS_PER_SECOND = 1_000;
/** Units of the constant `record_sample` in the programs. */
const SAMPLE_UNITS = 2 ** 32;
const NANOSECONDS_PER_MS = 1e6;

/** Returns whether the rules can select a request. */
export function wantsRecords(rules: RecordRules | undefined): rules is RecordRules {
  return rules !== undefined && (rules.failed || rules.slow !== undefined || rules.sample !== undefined);
}

/**
 * Returns the settings of the programs that select requests.
 * @param limit maximum number of events per second for one owner
 */
export function recordSettings(rules: RecordRules | undefined, limit: number) {
  if (!wantsRecords(rules)) return { reports_records: false };
  const { failed, slow, sample, perPod } = rules;
  return {
    record_failed: failed,
    record_nanoseconds: slow === undefined ? 0 : Math.ceil(slow * NANOSECONDS_PER_MS),
    record_sample: Math.round((sample ?? 0) * SAMPLE_UNITS),
    // All Pods in the node's namespace share its limit in the kernel, and the limit of each Pod follows later.
    record_rate: Math.max(limit, 2 * Math.ceil(perPod)),
    // Last, because the programs may run while the settings are written.
    reports_records: true,
  };
}

/** Returns the record of a request, for `scope.record`. */
export function requestRecord(report: HttpReport, netns: NetnsId): RecordBody {
  const { timeNs, role, method, path, status, grpcCode, cause, failed, seconds, serverSeconds, traceId } = report;
  const { src = '', dst = '' } = report;
  return {
    kind: 'request',
    timeNs,
    netns,
    candidate: { failed, tookMs: seconds * MS_PER_SECOND, isDrawn: report.isDrawn },
    fields: {
      src: addressOf(src),
      srcPort: portOf(src) ?? 0,
      dst: addressOf(dst),
      dstPort: portOf(dst) ?? 0,
      role,
      method,
      path: path ?? null,
      status: status ?? null,
      grpcCode: grpcCode ?? null,
      cause: cause ?? null,
      failed,
      seconds,
      networkSeconds: serverSeconds === undefined ? null : Math.max(0, seconds - serverSeconds),
      traceId: traceId ?? null,
      message: describeReport(report),
    },
  };
}
