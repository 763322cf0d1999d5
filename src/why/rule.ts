import { ADVICE, type Cause, type Evidence, type Sure, type Verdict, type WitnessEvent } from './evidence.ts';

/** Returns a verdict if it explains what happened. */
export type Rule = (evidence: Evidence) => Verdict | undefined;

export function verdict(sure: Sure, cause: Cause, text: string): Verdict {
  return { sure, cause, text, advice: ADVICE[cause] };
}

export function nodesText({ nodes }: Evidence): string {
  if (nodes.length === 0) return 'no agent was asked';
  return `no drop of a packet with the client’s address was seen on ${nodes.length === 1 ? 'node' : 'nodes'} ${nodes.join(', ')}`;
}

export function policyOf(events: readonly WitnessEvent[], { policy }: Evidence): string {
  const told = events.find((event) => event.policy !== undefined)?.policy;
  if (told !== undefined) return `; policy: ${told}`;
  return policy?.verdict === 'denied' ? `; policy: ${policy.text}` : '';
}
