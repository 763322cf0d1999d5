import { type LaneRecord, labelsOf, type RecordKind } from '#delivery/record.ts';

/** A record that lacks the fields of an event: it has no message, no severity, and no time in its JSON. */
export interface TestRequest {
  readonly timeNs: string;
  readonly node: string;
  readonly namespace: string;
  readonly pod: string;
  readonly verb: string;
  readonly path: string;
  readonly status: number;
}

/** In version 1, the field `verb` was called `method`. */
type Stored = TestRequest & { readonly method?: string };

/** A second record kind, which represents the requests of a future probe. */
export const REQUEST_KIND: RecordKind<TestRequest> = {
  name: 'request',
  version: 2,
  toRecord: (request) => describe(request, JSON.stringify(request)),
  restore: (version, json) => {
    if (version < 1 || version > 2) return undefined;
    const { method, ...stored } = JSON.parse(json) as Stored;
    const request = method === undefined ? stored : { ...stored, verb: method };
    return describe(request, JSON.stringify(request));
  },
};

function describe({ timeNs, node, namespace, pod, verb, path, status }: TestRequest, json: string): LaneRecord {
  return {
    kind: REQUEST_KIND.name,
    probe: 'http',
    timeNs,
    severity: status < 500 ? 'info' : 'critical',
    stream: labelsOf({ kind: REQUEST_KIND.name, node, verb, namespace }),
    metadata: labelsOf({ pod, path, status: String(status) }),
    json,
    bytes: Buffer.byteLength(json),
  };
}

const EPOCH_NS = 1_767_225_700_000_000_000n;

/** Returns requests, each a microsecond later than the previous one. Every tenth request failed. */
export function makeRequests(count: number, first = 0): TestRequest[] {
  return Array.from({ length: count }, (_, index) => ({
    timeNs: String(EPOCH_NS + BigInt(first + index) * 1_000n),
    node: 'n',
    namespace: 'shop',
    pod: 'cart',
    verb: index % 2 === 0 ? 'GET' : 'POST',
    path: `/items/${first + index}`,
    status: index % 10 === 9 ? 503 : 200,
  }));
}
