import * as z from 'zod';
import { cookie, time } from './fields.ts';
import { ENTITY_KINDS } from './words.ts';

const ROW = z
  .strictObject({
    kind: z.enum(ENTITY_KINDS).describe('Kind of entity.'),
    namespace: z.string().describe('Namespace of the Pod; empty for other kinds.'),
    pod: z.string().describe('Name of the Pod, container, namespace or process; empty for the node.'),
    netns: cookie().describe('Cookie of its network namespace.'),
    gone: z.boolean().describe('Whether the namespace has been deleted, so that these are its last values.'),
    values: z
      .array(z.number().nullable())
      .readonly()
      .describe('Value of each of `metrics`, summed over its series; null if the probe is off or has no such value.'),
  })
  .readonly();
export type TroubleRow = z.infer<typeof ROW>;

/** Response body of `/api/v1/trouble`. */
export const TROUBLE = z
  .strictObject({
    collected: time().describe('When the values were collected.'),
    metrics: z.array(z.string()).readonly().describe('Names of the metrics.'),
    entities: z.array(ROW).readonly().describe('Entities on the node, including those that ended recently.'),
  })
  .readonly();
export type Trouble = z.infer<typeof TROUBLE>;
