import { SERVER, SERVER6 } from './bed.ts';
import type { ReachScenario } from './scenario.ts';
import { all, flush, ip, rule, run } from './steps.ts';

const WEB = `${SERVER}:8080`;
const SERVICE = '10.99.0.10';
const service = (port: number) =>
  rule('r', 'prerouting', `ip daddr ${SERVICE} tcp dport 80 dnat ip to ${SERVER}:${port}`);

/**
 * Fills the table of connection tracking of the client's router with connections that the kernel does not evict. The
 * limit holds for each namespace.
 */
const FILL = `python3 - > /run/reach-connections <<'END'
limit = int(open('/proc/sys/net/netfilter/nf_conntrack_max').read())
for number in range(limit + 100):
    source, port = 1 + number % 60000, 1 + number // 60000
    print(f'-I -p udp -s 10.252.0.1 -d 10.252.0.2 --sport {source} --dport {port} -t 600 -u ASSURED')
END
conntrack -R /run/reach-connections > /dev/null 2>&1; rm /run/reach-connections; test $(conntrack -C) -ge $(cat /proc/sys/net/netfilter/nf_conntrack_max)`;

/** Attaches a program that returns TC_ACT_SHOT. */
const DROP_BY_TC = `echo '__attribute__((section("tc"))) int shoot(void *packet) { return 2; }' |
clang -O2 -target bpf -x c -c - -o /run/reach-drop.o
tc qdisc add dev pod clsact && tc filter add dev pod ingress protocol ip bpf da obj /run/reach-drop.o sec tc; rm /run/reach-drop.o`;

/** Takes the only two local ports of the client. */
const TAKE_PORTS = `sysctl -qw net.ipv4.ip_local_port_range='40000 40001'
python3 -c "
import socket, time
held = []
for port in (40000, 40001):
    holder = socket.socket()
    holder.bind(('', port))
    holder.listen()
    held.append(holder)
time.sleep(60)
" > /dev/null 2>&1 & echo $! > /tmp/reach-ports-$PPID; sleep 0.5; cp /tmp/reach-ports-$PPID /run/reach-ports; rm /tmp/reach-ports-$PPID`;
const GIVE_PORTS =
  "kill $(cat /run/reach-ports); rm /run/reach-ports; sysctl -qw net.ipv4.ip_local_port_range='32768 60999'";

/** Scenarios that were written, with their answers, before any rule was tried on them. */
export const HELD_OUT: readonly ReachScenario[] = [
  { name: 'udp, closed port', args: ['--to', `${SERVER}:9999`, '--udp'] },
  {
    name: 'udp, dropped at the server’s router',
    provoke: rule('q', 'forward', 'udp dport 7000 drop'),
    mend: flush('q'),
    args: ['--to', `${SERVER}:7000`, '--udp'],
  },
  { name: 'udp, nobody has the address', args: ['--to', '10.230.2.77:7000', '--udp'] },
  {
    name: 'icmp, dropped at the server',
    provoke: rule('b', 'input', 'icmp type echo-request drop'),
    mend: flush('b'),
    args: ['--to', SERVER, '--icmp'],
  },
  {
    name: 'icmp, blackhole at the server’s router',
    provoke: all(ip('r', 'route add 10.251.0.0/16 via 10.230.3.2'), ip('q', 'route add blackhole 10.251.0.0/16')),
    mend: all(ip('r', 'route del 10.251.0.0/16'), ip('q', 'route del blackhole 10.251.0.0/16')),
    args: ['--to', '10.251.2.2', '--icmp'],
  },
  {
    name: 'service without endpoints',
    // The rule applies only to packets that have a route.
    provoke: all(
      ip('r', 'route add default via 10.230.3.2'),
      rule('r', 'forward', `ip daddr ${SERVICE} tcp dport 80 reject with icmp type port-unreachable`),
    ),
    mend: all(flush('r'), ip('r', 'route del default')),
    args: ['--to', `${SERVICE}:80`],
  },
  { name: 'service, closed target port', provoke: service(8081), mend: flush('r'), args: ['--to', `${SERVICE}:80`] },
  {
    name: 'service, dropped at the server',
    provoke: all(service(8080), rule('b', 'input', 'tcp dport 8080 drop')),
    mend: all(flush('r'), flush('b')),
    args: ['--to', `${SERVICE}:80`],
  },
  {
    name: 'ipv6, dropped at the server’s router',
    provoke: rule('q', 'forward', 'tcp dport 8080 drop'),
    mend: flush('q'),
    args: ['--to', `[${SERVER6}]:8080`],
  },
  {
    name: 'ipv6, no route at the client’s router',
    provoke: ip('r', '-6 route del fd30:2::/64'),
    mend: ip('r', '-6 route add fd30:2::/64 via fd30:3::2'),
    args: ['--to', `[${SERVER6}]:8080`],
  },
  { name: 'ipv6, closed port', args: ['--to', `[${SERVER6}]:8081`] },
  { name: 'tls, certificate of another name', args: ['--to', 'web:8444', '--tls'] },
  { name: 'tls, expired certificate', args: ['--to', 'web:8445', '--tls'] },
  { name: 'http, redirect loop', args: ['--to', 'web:8080', '--http', '/loop'] },
  { name: 'http, 404', args: ['--to', 'web:8080', '--http', '/404'] },
  { name: 'reset after accept', args: ['--to', `${SERVER}:8092`, '--http', '/'] },
  {
    name: 'asymmetric routes with rp_filter',
    provoke: all(
      run(
        'a',
        'ip link add other type veth peer name direct && ip link set other up && ip addr add 10.230.4.2/24 dev other',
      ),
      (bed) => bed.hosts.a.ip(`link set direct netns ${bed.hosts.q.name}`),
      run(
        'q',
        'ip addr add 10.230.4.1/24 dev direct && ip link set direct up && ip route add 10.230.1.2/32 via 10.230.4.2',
      ),
      run('a', 'sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.other.rp_filter=1'),
    ),
    mend: all(
      ip('a', 'link del other'),
      run('a', 'sysctl -qw net.ipv4.conf.all.rp_filter=0'),
      run('q', 'ip route del 10.230.1.2/32 2>/dev/null || true'),
    ),
    args: ['--to', WEB],
  },
  {
    name: 'conntrack full at the client’s router',
    provoke: all(rule('r', 'forward', 'ct state invalid drop'), run('r', FILL)),
    mend: all(flush('r'), run('r', 'conntrack -F 2>/dev/null')),
    args: ['--to', WEB],
  },
  {
    name: 'mtu on the way back, icmp dropped at the server',
    provoke: all(ip('q', 'link set out mtu 1000'), rule('b', 'input', 'icmp type destination-unreachable drop')),
    mend: all(ip('q', 'link set out mtu 1500'), flush('b'), ip('b', 'route flush cache')),
    args: ['--to', WEB, '--http', '/big'],
  },
  { name: 'slow server', args: ['--to', 'web:8080', '--http', '/slow'] },
  { name: 'ipv6, accept queue full', args: ['--to', `[${SERVER6}]:8091`] },
  { name: 'no local port is free', provoke: run('a', TAKE_PORTS), mend: run('a', GIVE_PORTS), args: ['--to', WEB] },
  {
    name: 'dropped by tc at the client’s router',
    provoke: run('r', DROP_BY_TC),
    mend: run('r', 'tc qdisc del dev pod clsact'),
    args: ['--to', WEB],
  },
  {
    name: 'resolver closed',
    provoke: (bed) =>
      bed.resolver('nameserver 10.230.3.2\nsearch shop.svc.test\noptions ndots:5 timeout:1 attempts:2\n'),
    mend: (bed) =>
      bed.resolver(`nameserver ${SERVER}\nsearch shop.svc.test svc.test test\noptions ndots:5 timeout:1 attempts:2\n`),
    args: ['--to', 'web:8080'],
  },
  { name: 'no such name in the search list', args: ['--to', 'nosuch.shop:8080'] },
  {
    name: 'responses of dns dropped at the client’s router',
    provoke: rule('r', 'forward', 'udp sport 53 drop'),
    mend: flush('r'),
    args: ['--to', 'web:8080'],
  },
  {
    name: 'answer dropped at the client',
    provoke: rule('a', 'input', 'tcp sport 8080 drop'),
    mend: flush('a'),
    args: ['--to', WEB],
  },
  {
    name: 'lost by a queue of the server’s router',
    // The queue would lose the requests for the neighbour, too.
    provoke: run(
      'q',
      'ip neigh replace 10.230.2.2 lladdr $(ip -j neigh show 10.230.2.2 | grep -o "..:..:..:..:..:..") dev pod nud permanent; tc qdisc add dev pod root tbf rate 8kbit burst 10 limit 1000',
    ),
    mend: run('q', 'tc qdisc del dev pod root'),
    args: ['--to', WEB],
  },
  {
    name: 'iptables-legacy at the server’s router',
    provoke: run('q', 'iptables-legacy -A FORWARD -p tcp --dport 8080 -j DROP'),
    mend: run('q', 'iptables-legacy -F FORWARD'),
    args: ['--to', WEB],
  },
  {
    name: 'prohibit route at the client’s router',
    provoke: ip('r', 'route add prohibit 10.250.0.0/16'),
    mend: ip('r', 'route del prohibit 10.250.0.0/16'),
    args: ['--to', '10.250.2.2:8080'],
  },
];
