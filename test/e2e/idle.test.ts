import { expect, it } from 'vitest';
import { AgentProcess } from '../support/agent_process.ts';
import { eventually } from '../support/oracle.ts';
import { wakeUpsASecond } from '../support/wake_ups.ts';

/** A timer of 25 ms alone makes forty wake-ups. Events on the rest of the machine wake the agent as well, for a while. */
const WAKE_UPS_MAX = 25;
const PATIENCE_MS = 100_000;

it('an agent without events rests', async () => {
  await using agent = await AgentProcess.serve();
  await eventually(async () => expect(await wakeUpsASecond(agent.pid)).toBeLessThan(WAKE_UPS_MAX), PATIENCE_MS);
});
