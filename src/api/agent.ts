import * as z from 'zod';
import { time } from './fields.ts';

/** Response body of `/api/v1/agent`. */
export const AGENT_REPORT = z
  .strictObject({
    node: z.string().describe('Name of the node.'),
    version: z.string().describe('Version of the agent.'),
    kernel: z.string().describe('Kernel release.'),
    started: time().describe('When the agent started.'),
    now: time().describe('Current time of the node.'),
    toolSocket: z
      .string()
      .describe(
        'Name of the abstract Unix socket on which `netsonde capture` and `netsonde reach` announce themselves to the probe `tooluse`.',
      ),
    kubernetes: z
      .strictObject({
        connected: z.boolean().describe('Whether the Pods of this node are watched.'),
        trouble: z
          .string()
          .nullable()
          .describe('Problem with the connection, and what to do about it; null if there is none.'),
      })
      .readonly()
      .nullable()
      .describe('State of the connection to the Kubernetes API; null if the agent does not use it.'),
  })
  .readonly();
export type AgentReport = z.infer<typeof AGENT_REPORT>;
