import { SERVER } from './bed.ts';
import type { ReachScenario } from './scenario.ts';
import { all, flush, ip, rule, run } from './steps.ts';

const WEB = `${SERVER}:8080`;

/** A scenario that the rules were written for, with its cause. */
export interface KnownScenario extends ReachScenario {
  readonly cause: string;
  /** Whether a kernel or the server reports the cause; otherwise it is inferred. */
  readonly sure: 'seen' | 'inferred';
}

export const IN_SAMPLE: readonly KnownScenario[] = [
  { name: 'open', args: ['--to', WEB, '--http', '/'], cause: 'reached', sure: 'seen' },
  { name: 'closed port', args: ['--to', `${SERVER}:8081`], cause: 'refused', sure: 'seen' },
  {
    name: 'dropped at the client',
    provoke: rule('a', 'output', 'tcp dport 8080 drop'),
    mend: flush('a'),
    args: ['--to', WEB],
    cause: 'firewall',
    sure: 'seen',
  },
  {
    name: 'dropped at the router',
    provoke: rule('r', 'forward', 'tcp dport 8080 drop'),
    mend: flush('r'),
    args: ['--to', WEB],
    cause: 'firewall',
    sure: 'seen',
  },
  {
    name: 'answers dropped at the router',
    provoke: rule('r', 'forward', 'tcp sport 8080 drop'),
    mend: flush('r'),
    args: ['--to', WEB],
    cause: 'firewall',
    sure: 'seen',
  },
  {
    name: 'dropped at the server',
    provoke: rule('b', 'input', 'tcp dport 8080 drop'),
    mend: flush('b'),
    args: ['--to', WEB],
    cause: 'firewall',
    sure: 'seen',
  },
  {
    name: 'rejected by ICMP at the router',
    provoke: rule('r', 'forward', 'tcp dport 8080 reject with icmp type admin-prohibited'),
    mend: flush('r'),
    args: ['--to', WEB],
    cause: 'firewall',
    sure: 'seen',
  },
  {
    name: 'rejected by a reset at the router',
    provoke: rule('r', 'forward', 'tcp dport 8080 reject with tcp reset'),
    mend: flush('r'),
    args: ['--to', WEB],
    cause: 'firewall',
    sure: 'seen',
  },
  {
    name: 'no route at the client',
    provoke: ip('a', 'route del default'),
    mend: ip('a', 'route add default via 10.230.1.1'),
    args: ['--to', WEB],
    cause: 'no_route',
    sure: 'seen',
  },
  { name: 'no route at the router', args: ['--to', '10.250.2.2:8080'], cause: 'no_route', sure: 'seen' },
  {
    name: 'blackhole at the router',
    provoke: ip('r', 'route add blackhole 10.251.0.0/16'),
    mend: ip('r', 'route del blackhole 10.251.0.0/16'),
    args: ['--to', '10.251.2.2:8080'],
    cause: 'route_rejects',
    sure: 'seen',
  },
  {
    name: 'no way back at the server',
    provoke: ip('b', 'route del default'),
    mend: ip('b', 'route add default via 10.230.2.1'),
    args: ['--to', WEB],
    cause: 'no_way_back',
    sure: 'inferred',
  },
  {
    name: 'rp_filter at the server',
    provoke: all(
      run('b', 'sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1'),
      run(
        'b',
        'ip link add back type veth peer name end && ip link set end up && ip link set back up && ip route add 10.230.1.0/24 dev back',
      ),
    ),
    mend: all(
      ip('b', 'link del back'),
      run('b', 'sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0'),
    ),
    args: ['--to', WEB],
    cause: 'rp_filter',
    sure: 'seen',
  },
  {
    name: 'address that nobody has',
    args: ['--to', '10.230.2.77:8080', '--timeout', '5s'],
    cause: 'no_neighbour',
    sure: 'seen',
  },
  { name: 'accept queue full', args: ['--to', `${SERVER}:8091`], cause: 'accept_queue', sure: 'inferred' },
  {
    name: 'narrow link, ICMP works',
    provoke: ip('r', 'link set pod mtu 1000'),
    mend: all(ip('r', 'link set pod mtu 1500'), ip('b', 'route flush cache')),
    args: ['--to', WEB, '--http', '/big'],
    cause: 'reached',
    sure: 'seen',
  },
  {
    name: 'narrow link, ICMP dropped',
    provoke: all(ip('r', 'link set pod mtu 1000'), rule('r', 'output', 'ip protocol icmp drop')),
    mend: all(flush('r'), ip('r', 'link set pod mtu 1500'), ip('b', 'route flush cache')),
    args: ['--to', WEB, '--http', '/big'],
    cause: 'mtu',
    sure: 'seen',
  },
  { name: 'no such name', args: ['--to', 'nosuch:8080'], cause: 'name_unknown', sure: 'seen' },
  {
    name: 'questions of DNS dropped',
    provoke: rule('b', 'input', 'udp dport 53 drop'),
    mend: flush('b'),
    args: ['--to', 'web:8080'],
    cause: 'name_dropped',
    sure: 'seen',
  },
  { name: 'issuer not trusted', args: ['--to', 'web:8443', '--tls'], cause: 'tls_untrusted', sure: 'seen' },
  { name: 'TLS to a plain port', args: ['--to', 'web:8080', '--tls'], cause: 'tls_not_tls', sure: 'seen' },
  {
    name: 'accepts, never answers',
    args: ['--to', 'web:8090', '--http', '/'],
    cause: 'server_silent',
    sure: 'inferred',
  },
  { name: 'HTTP 503', args: ['--to', 'web:8080', '--http', '/503'], cause: 'http_status', sure: 'seen' },
];
