import type { Evidence, Verdict } from '#why/evidence.ts';
import { why } from '#why/why.ts';

/** A cause, and the evidence that was recorded while it was provoked. */
export interface Recorded {
  readonly cause: string;
  readonly evidence: Evidence;
}

/** Names of the namespaces in recorded evidence that the agent of the client's node sees. */
const CLIENT_SIDE = ['client', 'client-node'];

/** Returns the evidence that remains if only the agent of the client's node is asked. */
export function ofClient(evidence: Evidence): Evidence {
  return {
    ...evidence,
    events: evidence.events.filter(({ pod }) => CLIENT_SIDE.includes(String(pod))),
    growth: evidence.growth.filter(({ place }) => CLIENT_SIDE.includes(place)),
  };
}

/** Returns the evidence without any agent: what the client experienced, and its own counters. */
export function ofNobody(evidence: Evidence): Evidence {
  return { ...evidence, events: [], growth: evidence.growth.filter(({ role }) => role === 'client'), nodes: [] };
}

const VIEWS = { 'both agents': (all: Evidence) => all, 'agent of the client': ofClient, 'no agent': ofNobody } as const;

/** Returns a table in Markdown: the verdict of each scenario, with the agents of both ends, of the client, and of nobody. */
export function tableOf(recorded: Readonly<Record<string, Recorded>>): string {
  const views = Object.entries(VIEWS);
  const rows = Object.entries(recorded).map(([name, { cause, evidence }]) => {
    const cells = views.map(([, view]) => cellOf(why(view(evidence)), cause));
    return `| ${name} | ${cause} | ${cells.join(' | ')} |`;
  });
  const sums = views.map(([title, view]) => {
    const verdicts = Object.values(recorded).map(({ cause, evidence }) => ({ cause, found: why(view(evidence)) }));
    const count = (sure: Verdict['sure'], isRight: boolean) =>
      verdicts.filter(({ cause, found }) => found.sure === sure && (found.cause === cause) === isRight).length;
    const unknown = count('unknown', true) + count('unknown', false);
    return `| ${title} | ${count('seen', true)} | ${count('inferred', true)} | ${unknown} | ${count('inferred', false)} | ${count('seen', false)} |`;
  });
  return [
    '| evidence | right, seen | right, inferred | unknown | wrong, inferred | wrong, seen |',
    '| --- | --- | --- | --- | --- | --- |',
    ...sums,
    '',
    `| scenario | cause | ${views.map(([title]) => title).join(' | ')} |`,
    `| --- | --- | ${views.map(() => '---').join(' | ')} |`,
    ...rows,
    '',
  ].join('\n');
}

function cellOf({ sure, cause }: Verdict, expected: string): string {
  if (sure === 'unknown') return 'unknown';
  return cause === expected ? sure : `**${sure}: ${cause}**`;
}
