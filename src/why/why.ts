import { areLost, ENDS, grew, hasResent, isObserved, senderOf, withoutArrived } from './arrived.ts';
import { isOfNextHop } from './belongs.ts';
import { countText, type Drops, isError, isOfName, isTraceable, placeOf, whereOf, worstDrops } from './drops.ts';
import type { Cause, Evidence, Stage, Verdict, WitnessEvent } from './evidence.ts';
import { acceptQueue, listenDrops, noWayBack, sharedCounters } from './listening.ts';
import { names } from './names.ts';
import { nodesText, policyOf, type Rule, verdict } from './rule.ts';

/**
 * Returns the cause of what happened in a trial. The first rule that explains it decides: what a kernel or the other end
 * has reported comes before what can only be inferred.
 */
export function why(evidence: Evidence): Verdict {
  for (const rule of RULES) {
    const found = rule(evidence);
    if (found !== undefined) return found;
  }
  const { trial } = evidence;
  return verdict('unknown', 'failed', `the attempt failed with ${trial.errno ?? 'no error'}`);
}

function ofConnection(evidence: Evidence): WitnessEvent[] {
  return evidence.events.filter((event) => !isOfName(event, evidence));
}

/** Errors of the client's own kernel. */
const ownFaults: Rule = ({ trial }) => {
  const { errno = '', stage, localIp, ip = '' } = trial;
  if (stage !== 'connect') return undefined;
  // Without a local address, the kernel has refused to choose a route before anything was sent.
  const hasRoute = localIp !== undefined;
  if (hasRoute && (errno === 'EADDRNOTAVAIL' || errno === 'EADDRINUSE')) {
    return verdict('seen', 'no_port', 'no local port is free in the Pod');
  }
  if (hasRoute) return undefined;
  if (errno === 'ENETUNREACH') return verdict('seen', 'no_route', 'the Pod itself has no route to the address');
  if (errno === 'EACCES' && trial.protocol === 'udp') {
    return verdict(
      'unknown',
      'failed',
      'it is a broadcast address, or a prohibit route of the Pod rejects it (EACCES)',
    );
  }
  const isRejected = errno === 'EHOSTUNREACH' || errno === 'EACCES' || (errno === 'EINVAL' && !isLinkLocal(ip));
  return isRejected
    ? verdict('seen', 'route_rejects', `a route of the Pod itself rejects the address (${errno})`)
    : undefined;
};

/** Whether the address needs the name of an interface. */
function isLinkLocal(ip: string): boolean {
  return /^fe[89ab]/.test(ip);
}

/** Milliseconds of a handshake that no way within a data centre takes. */
const SLOW_MS = 50;
/** Milliseconds after which a SYN is sent again. */
const SYN_AGAIN_MS = 1_000;

const reached: Rule = ({ trial }) => {
  const { stage, errno, tls, http, icmp } = trial;
  const isRefused = (http?.status ?? 0) >= 400 || http?.isLoop === true;
  if (stage !== 'done' || errno !== undefined || tls?.fault !== undefined || icmp !== undefined || isRefused) {
    return undefined;
  }
  const target = trial.port === 0 ? String(trial.ip) : `${trial.ip} port ${trial.port}`;
  const { connectMs = 0 } = trial;
  return verdict(
    'seen',
    'reached',
    `${target} was reached over ${trial.protocol.toUpperCase()}${slownessOf(connectMs)}`,
  );
};

function slownessOf(ms: number): string {
  if (ms < SLOW_MS) return '';
  const took = `, but slowly: the handshake took ${ms.toFixed(0)} ms`;
  return ms < SYN_AGAIN_MS
    ? `${took}, in which the network, and not the application, delays the packets`
    : `${took}, because a SYN was sent again: a packet was lost, or a queue of the server was full for a moment`;
}

const TLS_CAUSES: readonly (readonly [RegExp, Cause, string])[] = [
  [/^CERT_HAS_EXPIRED$/, 'tls_expired', 'the certificate has expired'],
  [/^CERT_NOT_YET_VALID$/, 'tls_not_yet', 'the certificate is not valid yet'],
  [/^ERR_TLS_CERT_ALTNAME_|^HOSTNAME_MISMATCH$/, 'tls_name', 'the certificate is for other names'],
  [/./, 'tls_untrusted', 'the Pod does not trust the issuer of the certificate'],
];

/** Number of redirects that a sentence names if there is no end. */
const REDIRECTS_SHOWN = 3;

/** What the server says by TLS and HTTP. */
const responses: Rule = ({ trial }) => {
  const { tls, http, errno = '', stage } = trial;
  if (tls?.fault !== undefined) {
    const [, cause, text] = TLS_CAUSES.find(([pattern]) => pattern.test(tls.fault ?? '')) ?? TLS_CAUSES[3] ?? [];
    const facts = `names ${tls.names || 'none'}, issuer ${tls.issuer}, until ${tls.validTo}`;
    return verdict('seen', cause ?? 'tls_failed', `${text} (${tls.fault}; ${facts})`);
  }
  if (stage === 'tls' && /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST/.test(errno)) {
    return verdict('seen', 'tls_not_tls', `the server does not speak TLS on this port (${errno})`);
  }
  if (stage === 'tls' && errno.startsWith('ERR_')) {
    return verdict('seen', 'tls_failed', `the TLS handshake failed (${errno})`);
  }
  if (http?.isLoop === true) {
    return verdict('seen', 'http_redirects', loopText(http.redirects));
  }
  if ((http?.status ?? 0) >= 400) {
    return verdict('seen', 'http_status', `the server responds with ${http?.status} ${http?.statusText}`);
  }
  if (stage === 'http' && errno.startsWith('HPE_')) {
    return verdict('seen', 'http_malformed', `the response is not HTTP (${errno})`);
  }
  return undefined;
};

function loopText(redirects: readonly string[]): string {
  const isCircle = redirects.indexOf(redirects.at(-1) ?? '') < redirects.length - 1;
  return isCircle
    ? `the redirects lead in a circle: ${redirects.join(' → ')}`
    : `the redirects do not end: ${redirects.slice(0, REDIRECTS_SHOWN).join(' → ')} → …`;
}

/** Packets of the connection that a kernel has dropped. */
const drops: Rule = (evidence) => {
  const own = ofConnection(evidence);
  const found = worstDrops(explaining(own, evidence), evidence);
  return found === undefined || found.cause === 'dropped' ? undefined : dropVerdict(found, own, evidence);
};

/**
 * Drops with a reason that says little. They may be a consequence of something else, as those of repeated SYNs are, for
 * which the kernel gives no reason.
 */
const otherDrops: Rule = (evidence) => {
  const own = ofConnection(evidence);
  const found = worstDrops(explaining(own, evidence), evidence);
  if (found === undefined) return undefined;
  const told = dropVerdict({ ...found, isCertain: false }, own, evidence);
  const isNamed = found.events.some(({ reason }) => !/^(NOT_SPECIFIED|TCP_)/.test(String(reason)));
  return isNamed ? told : { ...told, sure: 'unknown' };
};

/** Returns the events about packets that the connection may have missed. */
function explaining(own: readonly WitnessEvent[], evidence: Evidence): readonly WitnessEvent[] {
  return withoutArrived(
    own.filter((event) => !isError(event, evidence)),
    evidence,
  );
}

function dropVerdict(found: Drops, own: readonly WitnessEvent[], evidence: Evidence): Verdict {
  const { trial } = evidence;
  const { cause, text, events } = found;
  const [first] = events as [WitnessEvent];
  const count = countText(events);
  const isOne = /\b1$/.test(count);
  const ofEnd = `${isOne ? 'packet' : 'packets'} of the ${senderOf(first, evidence)}`;
  const what = isOfNextHop(first, evidence.events) ? (isOne ? 'request' : 'requests') : ofEnd;
  const told = cause === 'mtu' ? hiddenError(evidence, own) : '';
  const rejected =
    trial.errno === undefined || trial.errno === 'ETIMEDOUT' ? '' : `; the client was told ${trial.errno}`;
  const sentence = `${text}: ${count} ${what} dropped ${whereOf(first)}${rejected}${told}${policyOf(events, evidence)}${ruleOf(cause, evidence)}`;
  const lost = verdict(areLost(found, evidence) ? 'seen' : 'inferred', cause, sentence);
  const canTrace = cause === 'firewall' && !evidence.isTraced && events.some(isTraceable);
  return canTrace ? { ...lost, advice: RULE_ADVICE } : lost;
}

const RULE_ADVICE = 'Find the policy with `netsonde policy`, or the rule with --rules.';

function hiddenError(evidence: Evidence, events: readonly WitnessEvent[]): string {
  const lost = events.find((event) => event.type === 'packet_drop' && isError(event, evidence));
  return lost === undefined ? '' : `; the ICMP error that tells the sender is dropped, too, ${whereOf(lost)}`;
}

function ruleOf(cause: Cause, { rule }: Evidence): string {
  return rule === undefined || cause !== 'firewall' ? '' : `; rule: ${rule}`;
}

const refused: Rule = (evidence) => {
  const { trial } = evidence;
  const { errno } = trial;
  const reset = sentReset(evidence);
  if (errno === 'ECONNREFUSED') {
    if (reset !== undefined) {
      return verdict(
        'seen',
        'refused',
        `nothing listens on port ${trial.port}, as ${placeOf(reset)} says by a reset (${String(reset['reason'])})`,
      );
    }
    const isServersOwn = isObserved(evidence, 'server')
      ? grew(evidence, 'server', 'Tcp.OutRsts', 'Udp.NoPorts', 'Udp6.NoPorts') > 0
      : undefined;
    if (isServersOwn === false) {
      return verdict(
        'inferred',
        'firewall',
        'the connection is refused, but not by the server, whose counters say so: a firewall rejects the packets',
      );
    }
    if (trial.protocol === 'udp') {
      return verdict(
        'inferred',
        'refused',
        'an ICMP error says that the port is unreachable: nothing listens there, or a firewall rejects the datagrams',
      );
    }
    const errors = grew(evidence, 'client', 'Icmp.InDestUnreachs', 'Icmp6.InDestUnreachs');
    // The kernel ignores the first error if it is still busy with sending the SYN.
    if (errors > 0 && errors <= 2) {
      return verdict(
        'inferred',
        'firewall',
        'an ICMP error rejects the connection (port unreachable): a firewall, or a Service without endpoints',
      );
    }
    return verdict(
      'inferred',
      'refused',
      `a reset refuses the connection: nothing listens on port ${trial.port}, or a firewall rejects it by a reset`,
    );
  }
  return errno === 'ECONNRESET' || errno === 'EPIPE' ? resetBy(reset, evidence) : undefined;
};

function resetBy(reset: WitnessEvent | undefined, evidence: Evidence): Verdict {
  if (reset !== undefined) {
    return verdict('seen', 'reset', `${placeOf(reset)} reset the connection (${String(reset['reason'])})`);
  }
  const isForeign = isObserved(evidence, 'server') && grew(evidence, 'server', 'Tcp.OutRsts') === 0;
  return verdict(
    'inferred',
    'reset',
    isForeign
      ? 'a reset in the name of the server has ended the connection, and the server has sent none: something in between has'
      : 'a reset has ended the connection; no agent that was asked has seen who sent it',
  );
}

/**
 * Returns the reset that an end has sent. An end that has received a reset knows the connection no more, and answers
 * later segments with a reset of its own, which has not ended the connection.
 */
function sentReset({ events }: Evidence): WitnessEvent | undefined {
  const resets = events.filter(({ type }) => type === 'tcp_reset');
  const isConsequence = (sent: WitnessEvent) =>
    resets.some(
      (other) => other['direction'] === 'received' && placeOf(other) === placeOf(sent) && other.time < sent.time,
    );
  return resets.find((event) => event['direction'] === 'sent' && !isConsequence(event));
}

/** Codes of ICMP that a firewall sends, but no route: the network or the host is prohibited. */
const PROHIBITED = [9, 10];

/** ICMP error about an echo request. */
const echoErrors: Rule = ({ trial: { icmp, ip = '' } }) => {
  if (icmp === undefined) return undefined;
  const { type, code, from } = icmp;
  const [unreachable, exceeded, prohibited] = ip.includes(':') ? [1, 3, []] : [3, 11, PROHIBITED];
  const said = `${from} says by ICMP (type ${type}, code ${code})`;
  if (type === exceeded) return verdict('inferred', 'ttl', `${said} that the TTL has run out`);
  if (type === unreachable && prohibited.includes(code)) {
    return verdict('inferred', 'firewall', `${said} that a firewall rejects the packets`);
  }
  if (type === unreachable && code === 0) return verdict('inferred', 'no_route', `${said} that there is no route`);
  return verdict(
    'unknown',
    'unreachable',
    `${said} that the address is unreachable, or that a firewall or a prohibit route rejects the packets`,
  );
};

/** Errors of system calls that ICMP errors of others cause, and the silence after which such errors were counted. */
const routerErrors: Rule = (evidence) => {
  const { errno, protocol } = evidence.trial;
  const exceeded = grew(evidence, 'client', 'Icmp.InTimeExcds', 'Icmp6.InTimeExcds');
  const unreachable = grew(evidence, 'client', 'Icmp.InDestUnreachs', 'Icmp6.InDestUnreachs');
  // A socket of UDP is not told that the TTL has run out.
  const isTold = errno === 'EHOSTUNREACH' || (errno === 'ETIMEDOUT' && protocol === 'udp');
  if (isTold && exceeded > 0 && unreachable === 0) {
    return verdict('inferred', 'ttl', `a router says by ICMP that the TTL has run out (InTimeExcds +${exceeded})`);
  }
  switch (errno) {
    case 'EPERM':
      return verdict('inferred', 'firewall', 'a firewall of the Pod itself drops the packets');
    case 'ENETUNREACH':
      return verdict('inferred', 'no_route', 'a router says by ICMP that it has no route');
    case 'EACCES':
      return verdict(
        'unknown',
        'unreachable',
        'a router says by ICMP that a firewall or a prohibit route rejects the packets',
      );
    case 'EHOSTUNREACH':
      return verdict(
        'unknown',
        'unreachable',
        'the address is unreachable: the next hop does not answer, or a router or firewall says so by ICMP',
      );
    default:
      return undefined;
  }
};

/** Packets that a network policy drops at the server would be seen there. */
const policies: Rule = (evidence) => {
  const { trial, policy } = evidence;
  if (trial.errno !== 'ETIMEDOUT' || trial.stage !== 'connect' || isObserved(evidence, 'server')) return undefined;
  return policy?.verdict === 'denied'
    ? verdict('inferred', 'firewall', `network policies deny the connection: ${policy.text}`)
    : undefined;
};

const silence: Rule = (evidence) => {
  const { trial } = evidence;
  if (trial.errno !== 'ETIMEDOUT') return undefined;
  if (trial.protocol === 'tcp' && trial.stage !== 'connect') return silentConnection(evidence);
  const isDelivered =
    trial.protocol === 'udp' &&
    grew(evidence, 'server', 'Udp.InDatagrams', 'Udp6.InDatagrams') === 1 &&
    grew(evidence, 'server', 'Udp.NoPorts', 'Udp6.NoPorts') === 0;
  if (isDelivered) {
    return verdict(
      'inferred',
      'server_silent',
      'a datagram was delivered to a socket of the server, which does not respond',
    );
  }
  const to = trial.protocol === 'tcp' ? ' to the SYN' : '';
  return verdict(
    'unknown',
    'no_answer',
    `there is no response${to}, and ${nodesText(evidence)}${againText(evidence)}${sharedCounters(evidence)}`,
  );
};

function againText({ events }: Evidence): string {
  const again = events.filter(({ type }) => type === 'tcp_retransmit');
  return again.length === 0 ? '' : `; ${countText(again)} segments were sent again`;
}

/** What a server does not do, by the stage of the trial. */
const LACKS: Partial<Record<Stage, string>> = { tls: 'respond to the TLS handshake', send: 'read the data' };

/** An established connection on which nothing arrives in time. */
function silentConnection(evidence: Evidence): Verdict {
  const { trial, events } = evidence;
  const isAgain = events.some((event) => event.type === 'tcp_retransmit' && senderOf(event, evidence) === 'server');
  if (isAgain || ENDS.some((end) => hasResent(evidence, end))) {
    return verdict(
      'unknown',
      'lost',
      `segments of the established connection are lost, and ${nodesText(evidence)}${againText(evidence)}`,
    );
  }
  const lack = LACKS[trial.stage] ?? 'respond to the request';
  if (!isObserved(evidence, 'server')) {
    return verdict(
      'unknown',
      'no_answer',
      `the connection stands, but the server does not ${lack}; whether it has, and its packets were lost, is known only to its own kernel`,
    );
  }
  const sent = events.some(({ type }) => type === 'tcp_retransmit')
    ? 'only a segment of the handshake had to be sent again'
    : 'neither end had to send anything again';
  return verdict(
    'inferred',
    'server_silent',
    `the connection stands, and ${sent}, but the server does not ${lack} in time`,
  );
}

const RULES: readonly Rule[] = [
  names,
  ownFaults,
  reached,
  responses,
  drops,
  acceptQueue,
  refused,
  echoErrors,
  listenDrops,
  noWayBack,
  routerErrors,
  policies,
  otherDrops,
  silence,
];
