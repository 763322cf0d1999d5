import * as z from 'zod';
import { time } from './fields.ts';

/** `/api/v1/agent` */
export const AGENT_REPORT = z
  .strictObject({
    node: z.string().describe('Name of the node.'),
    version: z.string().describe('Version of the agent.'),
    kernel: z.string().describe('Release of the kernel.'),
    started: time().describe('When the agent started.'),
    now: time().describe('Present time by the clock of the node.'),
    kubernetes: z
      .strictObject({
        connected: z.boolean().describe('Whether the Pods of this node are watched.'),
        trouble: z.string().nullable().describe('Fault of the connection, and what helps; null: none.'),
      })
      .readonly()
      .nullable()
      .describe('State of the Kubernetes API; null: it is not used, and need not be.'),
  })
  .readonly();
export type AgentReport = z.infer<typeof AGENT_REPORT>;
