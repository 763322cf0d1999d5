import * as z from 'zod';
import { cookie, labels } from './fields.ts';
import { ENTITY_KINDS } from './words.ts';

const STATUS = z
  .strictObject({
    kind: z.enum(ENTITY_KINDS).describe('Kind of entity.'),
    namespace: z.string().describe('Namespace of the Pod; empty for other kinds.'),
    pod: z.string().describe('Name of the Pod, container, namespace or process; empty for the node.'),
    netns: cookie().describe('Cookie of its network namespace.'),
    sharesNode: z
      .boolean()
      .describe(
        "Whether it is a Pod that shares the node's network namespace (hostNetwork). Most metrics include it in the node.",
      ),
    uid: z.string().describe('UID of the Pod, or ID of the container; empty for other kinds.'),
    labels: labels().describe('Labels of the Pod that the configuration selects.'),
    ips: z
      .array(z.string())
      .readonly()
      .describe(
        "IP addresses in the network namespace. If the agent may not enter the namespace, the addresses of the Pod in the Kubernetes API. Empty for a Pod that shares the node's namespace.",
      ),
  })
  .readonly();
export type EntityStatus = z.infer<typeof STATUS>;

/** Response body of `/api/v1/entities`. */
export const ENTITIES_REPORT = z
  .strictObject({ entities: z.array(STATUS).readonly().describe('Entities that exist now.') })
  .readonly();
export type EntitiesReport = z.infer<typeof ENTITIES_REPORT>;
