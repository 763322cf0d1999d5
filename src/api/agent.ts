import * as z from 'zod';
import { time } from './fields.ts';

/** `/api/v1/agent` */
export const AGENT_REPORT = z
  .strictObject({
    node: z.string().describe('Name of the node.'),
    version: z.string().describe('Version of the agent.'),
    kernel: z.string().describe('Release of the kernel.'),
    started: time().describe('When the agent started.'),
    now: time().describe('The clock of the node.'),
    kubernetes: z
      .strictObject({
        connected: z.boolean().describe('The Pods of this node are watched.'),
        trouble: z.string().nullable().describe('Why it is not as it should be, and what helps; null: it is.'),
      })
      .readonly()
      .nullable()
      .describe('Null: the Kubernetes API is not used, and need not be.'),
  })
  .readonly();
export type AgentReport = z.infer<typeof AGENT_REPORT>;
