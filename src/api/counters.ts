import * as z from 'zod';
import { EVENTS_QUERY } from './events_query.ts';
import { cookie, time } from './fields.ts';

const { namespace, pod } = EVENTS_QUERY.shape;

/** Query parameters of `/api/v1/counters`. Each of them may be given at most once. */
export const COUNTERS_QUERY = z.strictObject({
  namespace: namespace.unwrap().exactOptional().describe('Namespace of the Pod; for other kinds, it is left out.'),
  pod: pod.unwrap().exactOptional().describe('Name of the Pod, container, namespace or process.'),
});
export type CountersQuery = z.infer<typeof COUNTERS_QUERY>;

const COUNTERS = z
  .strictObject({
    netns: cookie().describe('Cookie of the network namespace.'),
    tables: z
      .record(z.string(), z.record(z.string(), z.number()))
      .readonly()
      .describe(
        'Counters by table and field, with the names in `/proc/net/snmp`, `netstat` and `snmp6`, since the namespace exists, and as `Conntrack` those in `/proc/net/stat/nf_conntrack`, whose `entries` is the current number. Tables that cannot be read are absent.',
      ),
  })
  .readonly();

/** Response body of `/api/v1/counters`. */
export const COUNTERS_REPORT = z
  .strictObject({
    read: time().describe('When the counters were read.'),
    namespaces: z
      .array(COUNTERS)
      .readonly()
      .describe("Network namespaces with this owner; that of the node for a Pod that shares the node's; often one."),
  })
  .readonly();
export type CountersReport = z.infer<typeof COUNTERS_REPORT>;
