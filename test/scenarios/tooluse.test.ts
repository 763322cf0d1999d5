import { deepEqual, equal, match } from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { promisify } from 'node:util';
import type { ToolUse } from '#api/tool_use.ts';
import { tooluse } from '#probes/tooluse/tooluse.ts';
import { sampleValue } from '../support/exposition.ts';
import { only, probesOf } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { defineScenario, type ScenarioContext } from '../support/scenario.ts';
import { sendToTools, toolClient } from '../support/tool_socket.ts';

const REFUSED = 'netsonde_tool_announcements_refused_total';
const USES = 'netsonde_tool_uses_total';
const LIMIT = 1;
const NOBODY = 65_534;
const run = promisify(execFile);

function useIn({ pair }: ScenarioContext, more: Partial<ToolUse> = {}): ToolUse {
  return { command: 'capture', netns: [String(pair.a.netns.id)], request: 'packets', ...more };
}

const line = (use: object) => `${JSON.stringify(use)}\n`;

async function refusals({ agent }: ScenarioContext, reason: string): Promise<number> {
  return sampleValue(await agent.page(), REFUSED, { reason }) ?? Number.NaN;
}

export default defineScenario(tooluse, {
  options: { limit: LIMIT },
  checks: {
    'reports a use to each of its Pods, with the user that the kernel names': async (context) => {
      const { agent, pair } = context;
      const netns = [String(pair.a.netns.id), String(pair.b.netns.id)];
      const use = useIn(context, { netns, request: 'packets, 64 bytes of each', filter: 'udp \u202eport 53' });
      deepEqual(await sendToTools(agent.toolSocket, line(use)), { recorded: true });
      await eventually(() => equal(agent.events.length, 2));
      const uid = process.getuid?.();
      const shown = agent.events.map(({ pod, probe, type, severity, message, ...rest }) => ({
        ...{ pod, probe, type, severity, message },
        ...{ filter: rest['filter'], uid: rest['uid'], pid: rest['pid'] },
      }));
      const message = `User ${uid} (process ${process.pid}) runs \`netsonde capture\`: packets, 64 bytes of each that match \`udp \\u{202e}port 53\`.`;
      const told = { probe: 'tooluse', type: 'tool_used', severity: 'info', message };
      const fields = { filter: 'udp \u202eport 53', uid, pid: process.pid };
      deepEqual(
        shown,
        [pair.a, pair.b].map((host) => ({ pod: host.netns.name, ...told, ...fields })),
      );
      equal(sampleValue(await agent.page(), USES, { command: 'capture' }), 1);
    },
    'refuses other users, whatever they send': async (context) => {
      const before = context.agent.events.length;
      const sent = toolClient(context.agent.toolSocket, line(useIn(context)), NOBODY);
      const { stdout } = await run('python3', ['-c', sent]);
      match(stdout, /"recorded":false,"reason":"the agent accepts announcements only from root/);
      equal(await refusals(context, 'user'), 1);
      equal(context.agent.events.length, before);
    },
    'refuses malformed announcements, and ones that are too long or never end': async (context) => {
      const { toolSocket } = context.agent;
      const malformed = [
        '\n',
        '{"command":\n',
        line({ ...useIn(context), command: 'serve' }),
        line({ ...useIn(context), netns: ['1', '2', '3'] }),
        line({ ...useIn(context), netns: ['-1'] }),
        line({ ...useIn(context), uid: 0 }),
        'x'.repeat(40_000),
      ];
      for (const text of malformed) equal((await sendToTools(toolSocket, text)).recorded, false);
      equal(await refusals(context, 'malformed'), malformed.length);
      match((await sendToTools(toolSocket, '{')).reason ?? '', /not complete in time/);
      equal(await refusals(context, 'late'), 1);
    },
    'records a limited number of uses, and says so': async (context) => {
      const { agent } = context;
      const before = agent.events.length;
      const text = line(useIn(context, { command: 'reach', request: 'tcp to db:5432' }));
      const receipts = await Promise.all(Array.from({ length: 12 }, () => sendToTools(agent.toolSocket, text)));
      const recorded = receipts.filter((receipt) => receipt.recorded).length;
      equal(await refusals(context, 'rate'), receipts.length - recorded);
      const reasons = receipts.flatMap(({ reason }) => reason ?? []);
      match(reasons[0] ?? '', /too many uses/);
      await eventually(() => equal(agent.events.length - before, recorded));
      const entry = agent.kernel.ledger().find(({ probe }) => probe === 'tooluse');
      deepEqual(
        { produced: entry?.produced, limited: entry?.limited },
        { produced: receipts.length + 2, limited: receipts.length - recorded },
      );
    },
    'survives clients that connect and go': async (context) => {
      const { toolSocket } = context.agent;
      for (let count = 0; count < 100; count++)
        connect({ path: `\0${toolSocket}` })
          .on('error', () => undefined)
          .destroy();
      await eventually(async () => match(JSON.stringify(await sendToTools(toolSocket, '\n')), /different version/));
      match(readFileSync('/proc/net/unix', 'utf8'), new RegExp(`@${toolSocket}$`, 'm'));
    },
    'says that its events are switched off': async (context) => {
      const { agent } = context;
      const before = agent.events.length;
      await agent.kernel.configure(probesOf(only({ [tooluse.name]: { enabled: true, events: false } })));
      match((await sendToTools(agent.toolSocket, line(useIn(context)))).reason ?? '', /switches the events .* off/);
      equal(await refusals(context, 'off'), 1);
      equal(agent.events.length, before);
    },
  },
});
