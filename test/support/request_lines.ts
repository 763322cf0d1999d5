import type { RequestRecord } from '#api/requests.ts';

/** Returns the record of a request that failed. */
export function failedRequest(): RequestRecord {
  return {
    time: '2026-01-01T00:00:00.000000000Z',
    probe: 'http',
    node: 'n1',
    netns: '7',
    namespace: 'shop',
    pod: 'cart-0',
    src: '10.0.0.1',
    srcPort: 1_000,
    dst: '10.0.0.7',
    dstPort: 80,
    peer: { kind: 'pod', namespace: 'shop', name: 'web-0', workload: 'web', ip: '10.0.0.7' },
    role: 'client',
    method: 'GET',
    path: '/cart/*',
    status: 503,
    grpcCode: null,
    cause: null,
    failed: true,
    seconds: 0.25,
    networkSeconds: 0.001,
    traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    message: 'first\u001b',
  };
}
