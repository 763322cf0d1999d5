import * as z from 'zod';
import { cookie } from './fields.ts';
import { TOOL_COMMANDS } from './words.ts';

/** Maximum size of an announcement in bytes. */
export const TOOL_USE_BYTES = 16_384;
/** Maximum number of UTF-16 code units of a filter. A longer one is cut. */
export const TOOL_FILTER_MAX = 2_048;
/** Maximum time in milliseconds that an exchange may take. */
export const TOOL_USE_MS = 1_000;

/**
 * Announcement of a command to the agent before it reads packets of a Pod, or sends packets as a Pod: one line of JSON
 * on the Unix socket that `/api/v1/agent` names.
 */
export const TOOL_USE = z
  .strictObject({
    command: z.enum(TOOL_COMMANDS),
    /** Network namespaces whose packets the command reads, or in which it sends packets. */
    netns: z.array(cookie()).min(1).max(2),
    /** Description, such as `packets, 256 bytes of each, for at most 30 s`. */
    request: z.string().min(1).max(512),
    /** Expression that selects packets. */
    filter: z.string().max(TOOL_FILTER_MAX).exactOptional(),
  })
  .readonly();
export type ToolUse = z.infer<typeof TOOL_USE>;

/** Response to an announcement: one line of JSON. */
export const TOOL_RECEIPT = z
  .object({
    recorded: z.boolean(),
    /** Why the use was not recorded. */
    reason: z.string().exactOptional(),
  })
  .readonly();
export type ToolReceipt = z.infer<typeof TOOL_RECEIPT>;
