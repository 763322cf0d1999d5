import { DEFAULT_PATHS } from '#core/paths.ts';
import { DEFAULT_LISTEN } from '#http/listen_address.ts';
import { DEFAULT_STATE, DEFAULT_URL } from './options.ts';

const COMMON = `  -h, --help          print this text; with a command, the help of that command
  --version           print the version
`;

/** Text of `netsonde --help`. */
export const USAGE = `netsonde: what the network does to every Pod of this node

  netsonde serve [--config FILE] [--listen HOST:PORT]   serve metrics and events (default :${DEFAULT_LISTEN.port}, all addresses)
  netsonde check [--config FILE] [--strict] [--json]    validate the configuration, open every probe, report the result
  netsonde events [--follow] [--pod NAMESPACE/NAME] …   show the events of an agent
  netsonde incidents [--follow] [--cause CAUSE] …       show connections in trouble, one line a cause
  netsonde flows [--follow] [--failed] [--pod POD] …    show TCP connections by Pod and peer, worst first
  netsonde requests [--follow] [--failed] [--pod POD] … show HTTP requests that failed, were slow or are a sample
  netsonde policy --from POD --to POD:PORT [--file FILE] …
                                                        say whether policies allow a connection, and which rule decides
  netsonde policy --what-if FILE …                      show the connections that the policies of FILE would break
  netsonde policy suggest --pod POD …                   print the smallest policy that allows the connections of a Pod
  netsonde capture --pod NAMESPACE/NAME -w FILE …       write the packets of a Pod to a file in pcapng format
  netsonde reach --from NAMESPACE/POD --to HOST:PORT …  try a connection as a Pod would, and say why it fails
  netsonde probes                                       list all probes
  netsonde convert FILE [--strict] [-o yaml|configmap]  convert KubeSkoop's configuration to netsonde's
  netsonde idle                                         do nothing, so that other commands can run in the container

Options of serve and check:
  --config FILE       configuration in YAML; the defaults apply without it
  --proc DIR          mount point of procfs (default ${DEFAULT_PATHS.proc})
  --sys DIR           mount point of sysfs (default ${DEFAULT_PATHS.sys})
  --cgroup DIR        mount point of cgroups (default ${DEFAULT_PATHS.cgroup})
  --netns DIR         directory of mounted network namespaces (default ${DEFAULT_PATHS.netns})
  --node-label K=V    label of this node, for \`nodes\` in the configuration; may be repeated
  --enable PROBE      enable a probe that is off by default, unless the configuration disables it; may be repeated
Options of serve:
  --listen HOST:PORT  address to serve on
  --api-socket FILE   serve on this Unix socket as well
  --api-token-file FILE
                      require this bearer token for /api/v1/* from clients other than loopback, which are refused without it
  --api-socket-only   require the token from loopback as well, because every user of the machine can connect from there
  --web.config.file FILE
                      TLS, client certificates and passwords, in the format of Prometheus' exporters (docs/web-config.md)
  --health-listen HOST:PORT
                      serve only /healthz and /readyz there, without TLS and passwords, for the kubelet
  --state DIR         directory for data that survives a restart, such as when \`for\` ends (default ${DEFAULT_STATE})
  --kubernetes MODE   get names of Pods from the Kubernetes API: auto (in a Pod with a service account), on, off (default auto);
                      $NODE_NAME is the name of this node (default: the host's), $KUBECONFIG a kubeconfig
  --configmap NAMESPACE/NAME[/KEY]
                      read the configuration from a ConfigMap through the API (default key netsonde.yaml)
Options of events, incidents, flows, requests, policy, capture and reach:
  --url URL           address of the agent (default ${DEFAULT_URL})
  --api-socket FILE   the agent's Unix socket, instead of --url
  --token-file FILE   file with the bearer token, for an agent on another machine
Options of events:
  --follow, -f        show new events instead of past ones
  --since TIME        show past events of a duration (10m) or since a time; with --follow also new ones
  --probe NAME,…      only events of these probes
  --type NAME,…       only events of these types
  --pod POD           only events of this Pod: NAMESPACE/NAME, or NAME
  --connection ID     only events with this \`connectionId\`
  -o json|text        format (default text)
Options of incidents:
  --follow, -f        show incidents as they begin, get another cause and end; with --since also past ones
  --since TIME        only incidents with events in the last duration (10m) or since a time
  --cause CAUSE       only incidents with this cause, such as firewall or refused
  --pod POD           only incidents of this Pod, as client or server: NAMESPACE/NAME, or NAME
  -o json|text        format (default text)
Options of flows:
  --namespace NAME    only connections of Pods in this namespace
  --pod POD           only connections of this Pod: NAMESPACE/NAME, or NAME
  --peer ADDRESS      only connections with this address
  --port PORT         only connections to this port of a server
  --role ROLE         only connections in which the Pod is the client, or the server
  --failed            only edges with failed connections; with --follow, only failed connections
  --addresses         show peers by address instead of by name
  --requests          show requests in place of connections: rates, errors and times to the answer
  --limit NUMBER      maximum number of edges; the worst are chosen (default 1000)
  --interval TIME     time between two tables (default 3s); the first shows totals, all others rates
  --count NUMBER      number of tables to print (default: no limit on a terminal, otherwise 1)
  --follow, -f        show connections as they end; \`records\` of the probe flow selects them
  --since TIME        with --follow, also show past ones: of the last duration (10m) or since a time
  -o json|text        format (default text)
Options of requests:
  --follow, -f        show new requests instead of past ones; \`records\` of the probe http selects them
  --since TIME        past requests of the last duration (10m) or since a time; with --follow also new ones
  --pod POD           only requests of this Pod: NAMESPACE/NAME, or NAME
  --peer PEER         only requests with this address or name as the other end
  --role ROLE         only requests that the Pod sent (client), or answered (server)
  --failed            only requests that were answered with 500 to 599 or an error code of gRPC, or not at all
  --slow TIME         only requests that took at least this long, such as 200ms
  --trace ID          only requests with this ID of a trace
  -o json|text        format (default text)
Options of policy:
  --from END          client: NAMESPACE/POD, or an address
  --to END:PORT[/udp] server: NAMESPACE/POD or an address with its port; protocol tcp (default), udp or sctp
  --file FILE …       read policies, Pods and Namespaces from manifests instead of the cluster; - for standard input
  --what-if FILE      policies to add or replace; shows which edges of an agent would break
  --pod NAMESPACE/POD with suggest, the Pod whose edges the policy must allow
  --outside           assume that addresses belong to no Pod; ignored with --file
  -o json|text        format (default text); the exit code is 0 if allowed, 1 if denied, 2 if unknown or an error
Options of capture:
  --pod NAMESPACE/POD packets of this Pod; --netns NAME, --pid NUMBER or --node for another network namespace
  --peer NAMESPACE/POD
                      packets of this Pod of the same node as well
  --drops             only packets that the kernel dropped, with the reason as comment
  --filter EXPR       only packets that match, in the language of pcap-filter(7); needs libpcap
  --snap BYTES        bytes of each packet, from the IP header on (default 256; 128 with --drops)
  --for TIME          maximum duration (default 30s, at most 10m)
  --max SIZE          maximum size of the file (default 64MiB, at most 1GiB)
  --count NUMBER      maximum number of packets
  -w FILE             file to write; - for standard output, as in \`netsonde capture … -w - | wireshark -k -i -\`
Options of reach:
  --from NAMESPACE/POD
                      client: a Pod of this node; --netns NAME or --pid NUMBER for another network namespace
  --to TARGET         server: HOST:PORT, [ADDRESS]:PORT, NAMESPACE/SERVICE[:PORT] or NAMESPACE/POD:PORT
  --udp, --icmp       send a datagram, or an ICMP echo request, instead of connecting by TCP
  --tls               carry out a TLS handshake, and check the name, issuer and dates of the certificate
  --http PATH         request this path by HTTP
  --size BYTES        send this many bytes; large packets show a wrong MTU
  --rules             name the rule of nftables or iptables that drops the packets; traces a second attempt
  --timeout TIME      maximum time for each of connection, handshake and response (default 4s)
  --peer-url URL …    agent of another node, such as that of the server; may be repeated
  -o json|text        format (default text); the exit code is 0 if reached, 1 if not, 2 if it could not be tried
Options of check:
  --strict            also fail if a probe is unsupported or degraded
  --json              print the result as JSON
  --web.config.file FILE
                      validate this file as well
Options of convert:
  FILE                KubeSkoop's config.yaml, or a manifest with its ConfigMap; - for standard input
  --strict            also fail if something was left out
  -o yaml|configmap   print the configuration, or a ConfigMap with it (default yaml)

${COMMON}`;

/**
 * Returns the help of one command: its lines of the synopsis, and its options. They are taken from the text of
 * `netsonde --help`, so that the two cannot differ.
 */
export function usageOf(command: string): string {
  const [, synopsis = '', options = ''] = USAGE.split(/\n\n/);
  const forms = synopsis.split(/\n(?= {2}netsonde )/).filter((form) => form.trim().split(/\s/)[1] === command);
  const sections = options
    .split(/\n(?=Options of )/)
    .filter((section) => namesIn(section.split('\n', 1)[0] ?? '').includes(command))
    .map((section) => section.slice(section.indexOf('\n') + 1));
  return [forms.join('\n'), sections.join('\n'), COMMON].filter((part) => part !== '').join('\n\n');
}

/** Returns the names of the commands in a heading such as `Options of serve and check:`. */
function namesIn(heading: string): string[] {
  return heading.replace(/^Options of |:$/g, '').split(/, | and /);
}
