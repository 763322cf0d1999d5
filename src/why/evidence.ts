/** Stage at which a trial ended. `done` means that every requested step was carried out. */
export type Stage = 'name' | 'connect' | 'tls' | 'http' | 'send' | 'done';

/** One question to a DNS server. */
export interface NameTry {
  readonly name: string;
  readonly server: string;
  /** `answer`, or the error: that of DNS, such as `ENOTFOUND`, or that of the socket. */
  readonly outcome: string;
  readonly ms: number;
}

/** TLS handshake as the client saw it. */
export interface TlsFacts {
  readonly names: string;
  readonly issuer: string;
  readonly validTo: string;
  /** Why the certificate is not accepted, as named by OpenSSL, such as `CERT_HAS_EXPIRED`; undefined if it is. */
  readonly fault: string | undefined;
}

export interface HttpFacts {
  /** Status of the last response; undefined if there was none. */
  readonly status: number | undefined;
  readonly statusText: string;
  /** Paths that redirects led through. */
  readonly redirects: readonly string[];
  /** Whether the redirects do not end: they lead to a path again, or there are too many. */
  readonly isLoop: boolean;
  /** Bytes of the body that arrived. */
  readonly bytes: number;
}

/** ICMP error about an echo request. */
export interface IcmpError {
  readonly type: number;
  readonly code: number;
  readonly from: string;
}

/** What the client experienced. */
export interface Trial {
  /** When the trial began, before its first packet. */
  readonly startTime?: string | undefined;
  readonly protocol: 'tcp' | 'udp' | 'icmp';
  readonly host: string;
  /** 0 for ICMP. */
  readonly port: number;
  readonly stage: Stage;
  /** Name of the error of the system call, such as `ECONNREFUSED`; `ETIMEDOUT` if nothing happened in time. */
  readonly errno?: string | undefined;
  readonly names: readonly NameTry[];
  /** Address of the server; undefined if the name did not resolve. */
  readonly ip?: string | undefined;
  /** Address and port of the client, such as `10.0.0.1:40000`; undefined before the first packet. */
  readonly local?: string | undefined;
  /** Address of the client. */
  readonly localIp?: string | undefined;
  /** Milliseconds of the TCP handshake, which is the time of the way to the server and back. */
  readonly connectMs?: number | undefined;
  readonly tls?: TlsFacts | undefined;
  readonly http?: HttpFacts | undefined;
  readonly icmp?: IcmpError | undefined;
}

/** An event of an agent, with the fields that the rules read. */
export interface WitnessEvent {
  readonly type: string;
  readonly severity: string;
  readonly time: string;
  readonly node: string;
  readonly namespace: string | null;
  readonly pod: string | null;
  readonly src?: string;
  readonly dst?: string;
  readonly protocol?: string;
  /** Number of folded events; of those of the trial, the maximum. */
  readonly count?: number;
  /** Minimum number of events that are of the trial; undefined if all of `count` are. */
  readonly least?: number;
  readonly ports?: readonly number[];
  readonly policy?: string;
  readonly policyVerdict?: string;
  readonly [field: string]: unknown;
}

/** Place of counters relative to the trial. */
export type Role = 'client' | 'server' | 'other';

/** Counters of a namespace that grew during the trial, such as `TcpExt.ListenOverflows`. */
export interface Growth {
  readonly place: string;
  readonly role: Role;
  readonly grown: Readonly<Record<string, number>>;
  /** Whether the counters of connection tracking could be read. */
  readonly hasConntrack: boolean;
}

/** What the sockets of the server that listen on the port did during the trial. */
export interface Listening {
  readonly port: number;
  /** Number of SYNs, and of segments that complete a handshake, that these sockets have dropped. */
  readonly drops: number;
  /** Whether the accept queue of one of them is full after the trial. */
  readonly isFull: boolean;
}

/** Verdict of the network policies for the connection. */
export interface PolicyFact {
  readonly verdict: 'allowed' | 'denied' | 'unknown';
  readonly text: string;
}

/** Everything that is known about a trial. */
export interface Evidence {
  readonly trial: Trial;
  /** Events of the trial on the nodes that were asked, in order of time. */
  readonly events: readonly WitnessEvent[];
  readonly growth: readonly Growth[];
  /** Undefined if the sockets of the server cannot be read from here. */
  readonly listening?: Listening | undefined;
  readonly policy?: PolicyFact | undefined;
  /** Whether a second attempt was traced. */
  readonly isTraced?: boolean | undefined;
  /** Rule of a firewall that the trace has named. */
  readonly rule?: string | undefined;
  /** Nodes whose agents were asked. */
  readonly nodes: readonly string[];
}

/**
 * How a cause is known. `seen`: a kernel or the other end has reported it about this connection. `inferred`: the cause
 * explains what happened better than any other, but nothing has reported it. `unknown`: the cause names only what
 * happened.
 */
export type Sure = 'seen' | 'inferred' | 'unknown';

export interface Verdict {
  readonly sure: Sure;
  readonly cause: Cause;
  readonly text: string;
  /** What to do next; empty if nothing is wrong. */
  readonly advice: string;
}

/** Causes, with what to do about each. */
export const ADVICE = {
  reached: '',
  no_port: 'Look for connections of the Pod that are never closed, or extend net.ipv4.ip_local_port_range of the Pod.',
  no_route: 'Check the routes there (`ip route get`), and those of the network plugin.',
  route_rejects: 'Remove the route of type blackhole, prohibit or unreachable, or add a more specific one.',
  no_way_back: 'Add a route from the server to the client; check the routes of the network plugin on that node.',
  rp_filter: 'Make both directions use the same device, or set net.ipv4.conf.*.rp_filter to 2 (loose) or 0.',
  no_neighbour: 'Check that the address exists and that its Pod or machine is up.',
  ttl: 'Look for a routing loop between the nodes.',
  mtu: 'Set the MTU of the Pods to that of the narrowest link, and let ICMP errors pass.',
  firewall: 'Find the policy with `netsonde policy`.',
  conntrack_full: 'Raise net.netfilter.nf_conntrack_max, or find the Pod with the most connections.',
  accept_queue: 'The server accepts too slowly: check its CPU limit and threads, or raise its listen backlog.',
  syn_queue:
    'Look for clients that never complete handshakes, raise net.ipv4.tcp_max_syn_backlog or the listen backlog, or set net.ipv4.tcp_syncookies to 1.',
  full_queue: 'Look for a rate limit (`tc qdisc`) or a receiver that is too slow.',
  dropped: 'Look up the reason in docs/drop-reasons.md.',
  refused: 'Check that the server runs, and that it listens on this port and address.',
  reset: 'Look at the log of the server, or of a proxy in between, at that time.',
  unreachable: 'Ask the agents of the other nodes as well, with --peer-url.',
  no_answer: 'Ask the agents of the other nodes as well, with --peer-url; then `netsonde capture` at both ends.',
  lost: 'Ask the agents of the other nodes as well, with --peer-url; then `netsonde capture` at both ends.',
  server_silent: 'Look at the server: its log, its CPU limit, and what it waits for.',
  name_unknown: 'Check the spelling, the namespace in the name, and that the Service exists.',
  name_failed: 'Look at the log of the DNS server.',
  name_refused: 'Check that the DNS server runs, and the nameserver in the Pod’s /etc/resolv.conf.',
  name_dropped: 'Allow UDP and TCP port 53 to the DNS server and its responses.',
  name_no_answer: 'Ask the agent of the DNS server’s node as well, with --peer-url.',
  tls_expired: 'Renew the certificate of the server.',
  tls_not_yet: 'Check the clocks, and the certificate of the server.',
  tls_name: 'Use a name of the certificate, or issue one for this name.',
  tls_untrusted: 'Install the issuer’s certificate in the Pod, or check which server answers.',
  tls_not_tls: 'Leave out --tls, or use the port on which the server speaks TLS.',
  tls_failed: 'Compare the protocol versions and ciphers of both ends.',
  http_status: 'Look at the log of the server for this request.',
  http_redirects: 'Check the scheme and host that the server or its proxy redirects to.',
  http_malformed: 'Check that the server speaks HTTP on this port.',
  failed: 'Look up the error.',
} as const;

export type Cause = keyof typeof ADVICE;
