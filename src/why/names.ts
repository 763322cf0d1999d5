import { portOf } from '#core/address.ts';
import { countText, isOfName, whereOf, worstDrops } from './drops.ts';
import type { WitnessEvent } from './evidence.ts';
import { nodesText, policyOf, type Rule, verdict } from './rule.ts';

/** Why the name has no address. */
export const names: Rule = (evidence) => {
  const { trial, events } = evidence;
  if (trial.stage !== 'name') return undefined;
  const last = trial.names.at(-1);
  if (last === undefined)
    return verdict('seen', 'name_failed', `${trial.host} has no address, and no DNS server to ask`);
  const asked = [...new Set(trial.names.map(({ name }) => name))].join(', ');
  if (['ENOTFOUND', 'ENODATA'].includes(last.outcome)) {
    return verdict('seen', 'name_unknown', `the DNS server ${last.server} knows none of ${asked}`);
  }
  if (['ESERVFAIL', 'EREFUSED', 'EFORMERR', 'ENOTIMP', 'EBADRESP'].includes(last.outcome)) {
    return verdict(
      'seen',
      'name_failed',
      `the DNS server ${last.server} responds to ${last.name} with ${last.outcome}`,
    );
  }
  const drops = worstDrops(
    events.filter((event) => isOfName(event, evidence)),
    evidence,
  );
  if (drops?.cause === 'refused') {
    return verdict(
      'seen',
      'name_refused',
      `nothing listens on port 53 of ${last.server}: ${whereOf(drops.events[0] as WitnessEvent)}`,
    );
  }
  if (drops !== undefined) {
    const [first] = drops.events as [WitnessEvent];
    const kind = portOf(first.src ?? '') === 53 ? 'response' : 'question';
    const sure = drops.isCertain ? 'seen' : 'inferred';
    return verdict(
      sure,
      'name_dropped',
      `${countText(drops.events)} × ${kind} of DNS dropped: ${drops.text}, ${whereOf(first)}${policyOf(drops.events, evidence)}`,
    );
  }
  if (last.outcome === 'ECONNREFUSED') {
    return verdict(
      'inferred',
      'name_refused',
      `port 53 of ${last.server} is unreachable, as an ICMP error says: nothing listens there, or a firewall rejects the questions`,
    );
  }
  return verdict(
    'unknown',
    'name_no_answer',
    `${last.server} does not respond to ${last.name}, and ${nodesText(evidence)}`,
  );
};
