import { randomUUID } from 'node:crypto';

/**
 * Returns a new name for the abstract Unix socket on which commands announce themselves to an agent. Nobody can bind it
 * before the agent, because the name is random, and known only from `/api/v1/agent`.
 */
export function newToolSocket(): string {
  return `netsonde-tools-${randomUUID()}`;
}
