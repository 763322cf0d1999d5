import type { Connection, End } from './connection.ts';
import type { Decision } from './decide.ts';

/** Maximum number of labels per Pod in a sentence. */
const LABELS_MAX = 4;

/** Returns a sentence that explains a decision, without the verdict and the final full stop. */
export function explain(decision: Decision, connection: Connection): string {
  const { direction, cause, by, unknown } = decision;
  const { source, destination } = connection;
  const subject = direction === 'egress' ? source : destination;
  const policies = listText(by);
  switch (cause) {
    case 'rule':
      return `${policies} ${by.length > 1 ? 'match' : 'matches'} ${traffic(decision, connection)}`;
    case 'isolated':
      return `${policies} ${by.length > 1 ? 'select' : 'selects'} the Pod, and no rule allows ${traffic(decision, connection)}`;
    case 'unselected':
      return by.length > 0
        ? `${policies} passes it on, and no other policy decides`
        : `no policy decides about ${traffic(decision, connection)}`;
    case 'uncertain':
      return `it depends on facts that are missing: ${unknown.join('; ')}${by.length > 0 ? `. ${policies} may decide` : ''}`;
    case 'itself':
      return 'policies do not apply to connections of a Pod with itself';
    case 'own node':
      return `policies do not apply to connections from the node of ${subject.name}`;
    case 'host network':
      return `${subject.name} uses the network of its node, to which policies do not apply`;
    case 'no pod':
      return `${subject.name} is not a Pod, so policies do not apply to it`;
  }
}

function traffic({ direction }: Decision, connection: Connection): string {
  const { source, destination } = connection;
  return `${portText(connection)} ${direction === 'egress' ? `to ${endText(destination)}` : `from ${endText(source)}`}`;
}

/** Formats the protocol and port of a connection: `tcp/8080`. */
export function portText({ protocol, port }: Pick<Connection, 'protocol' | 'port'>): string {
  return port === undefined ? protocol.toLowerCase() : `${protocol.toLowerCase()}/${port}`;
}

/** Formats an end with the labels by which policies may select it: `shop/web (app=web)`. */
function endText({ name, pod }: End): string {
  const all = Object.entries(pod?.labels.values ?? {}).map(([key, value]) => `${key}=${value}`);
  if (all.length === 0) return name;
  const more = all.length > LABELS_MAX ? `, and ${all.length - LABELS_MAX} more labels` : '';
  return `${name} (${all.slice(0, LABELS_MAX).join(', ')}${more})`;
}

function listText(names: readonly string[]): string {
  return names.length < 2 ? (names[0] ?? '') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}
