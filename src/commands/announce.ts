import { connect } from 'node:net';
import * as z from 'zod';
import { TOOL_FILTER_MAX, TOOL_RECEIPT, TOOL_USE_MS, type ToolUse } from '#api/tool_use.ts';
import { type AgentAddress, AgentClient, parseJson } from './agent_client.ts';

/** Fields of `/api/v1/agent` that the command needs. */
const REPORT = z.object({ toolSocket: z.string().min(1) });

/**
 * Announces the use of a command to the agent, which records it as an event. Never fails, because the command is needed
 * even if the agent is gone.
 * @param limitMs maximum time in milliseconds
 * @returns why the use was not recorded; undefined if it was
 */
export async function announce(
  address: AgentAddress,
  use: ToolUse,
  limitMs = TOOL_USE_MS,
): Promise<string | undefined> {
  const deadline = AbortSignal.timeout(limitMs);
  try {
    const client = await AgentClient.open(address);
    const { data } = REPORT.safeParse(parseJson(await client.read('/api/v1/agent', {}, deadline)));
    if (data === undefined) return 'the agent has a version that does not record uses';
    const receipt = TOOL_RECEIPT.safeParse(parseJson(await send(data.toolSocket, use, deadline))).data;
    if (receipt === undefined) return 'the agent has a different version';
    return receipt.recorded ? undefined : (receipt.reason ?? 'the agent gave no reason');
  } catch (error) {
    return deadline.aborted ? 'the agent did not respond in time' : (error as Error).message;
  }
}

/** Sends an announcement, and returns the response. */
async function send(name: string, use: ToolUse, deadline: AbortSignal): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect({ path: `\0${name}` });
  const end = () => socket.destroy(deadline.reason as Error);
  deadline.addEventListener('abort', end, { once: true });
  let text = '';
  socket
    .setEncoding('utf8')
    .on('data', (part) => {
      text += part;
    })
    .once('end', () => resolve(text))
    .once('error', (error) => reject(new Error(explain(error))))
    .once('close', () => reject(new Error('the agent closed the connection')))
    .write(`${JSON.stringify(cut(use))}\n`);
  try {
    return await promise;
  } finally {
    deadline.removeEventListener('abort', end);
    socket.destroy();
  }
}

function cut(use: ToolUse): ToolUse {
  const { filter } = use;
  return filter === undefined ? use : { ...use, filter: filter.slice(0, TOOL_FILTER_MAX) };
}

function explain(error: NodeJS.ErrnoException): string {
  if (error.code !== 'ECONNREFUSED') return error.message;
  return 'its probe `tooluse` does not run, or this command runs in another network namespace';
}
