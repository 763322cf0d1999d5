import { inertJson, visible } from '#core/inert.ts';
import type { Connection } from '#policies/connection.ts';
import type { Decision, Decisions } from '#policies/decide.ts';
import { explain, portText } from '#policies/explain.ts';

const BY_ADDRESS = 'a network decides about the address of a Pod, which network plugins treat in different ways';

export interface VerdictReport {
  readonly connection: Connection;
  readonly decisions: Decisions;
  /** API groups with policies that are not evaluated. */
  readonly otherGroups: readonly string[];
  readonly notes: readonly string[];
}

function notesOf({ decisions: { egress, ingress }, notes }: VerdictReport): readonly string[] {
  return egress.isByPodAddress || ingress.isByPodAddress ? [...notes, BY_ADDRESS] : notes;
}

/** Formats a verdict with its reasons as lines. */
export function verdictText(report: VerdictReport): string {
  const { connection, decisions, otherGroups } = report;
  const { source, destination } = connection;
  const line = (decision: Decision, name: string) =>
    `${decision.direction} of ${name}: ${decision.verdict}: ${explain(decision, connection)}`;
  const lines = [
    `${decisions.verdict}: ${source.name} to ${destination.name} ${portText(connection)}`,
    line(decisions.egress, source.name),
    line(decisions.ingress, destination.name),
    ...(otherGroups.length > 0 ? [`may also apply, not evaluated: ${otherGroups.join(', ')}`] : []),
    ...notesOf(report).map((note) => `note: ${note}`),
  ];
  return `${lines.map(visible).join('\n')}\n`;
}

/** Formats a verdict with its reasons as JSON. */
export function verdictJson(report: VerdictReport): string {
  const { connection, decisions, otherGroups } = report;
  const part = (decision: Decision) => ({
    verdict: decision.verdict,
    cause: decision.cause,
    by: decision.by,
    unknown: decision.unknown,
    message: explain(decision, connection),
  });
  const value = {
    verdict: decisions.verdict,
    from: connection.source.name,
    to: connection.destination.name,
    port: connection.port,
    protocol: connection.protocol.toLowerCase(),
    egress: part(decisions.egress),
    ingress: part(decisions.ingress),
    notEvaluated: otherGroups,
    notes: notesOf(report),
  };
  return `${inertJson(JSON.stringify(value, undefined, 2))}\n`;
}
