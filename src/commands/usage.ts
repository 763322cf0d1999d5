import { DEFAULT_PATHS } from '#core/paths.ts';
import { DEFAULT_LISTEN } from '#http/listen_address.ts';
import { DEFAULT_STATE, DEFAULT_URL } from './options.ts';

/** Text of `netsonde --help`. */
export const USAGE = `netsonde: what the network does to every Pod of this node

  netsonde serve [--config FILE] [--listen HOST:PORT]   serve metrics and events (default :${DEFAULT_LISTEN.port}, all addresses)
  netsonde check [--config FILE] [--strict] [--json]    validate the configuration, open every probe, report the result
  netsonde events [--follow] [--pod NAMESPACE/NAME] …   show the events of an agent
  netsonde flows [--follow] [--failed] [--pod POD] …    show TCP connections by Pod and peer, worst first
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
Options of events:
  --url URL           address of the agent (default ${DEFAULT_URL})
  --follow, -f        show new events instead of past ones
  --since TIME        show past events of a duration (10m) or since a time; with --follow also new ones
  --probe NAME,…      only events of these probes
  --type NAME,…       only events of these types
  --pod POD           only events of this Pod: NAMESPACE/NAME, or NAME
  -o json|text        format (default text)
  --api-socket FILE   the agent's Unix socket, instead of --url
  --token-file FILE   file with the bearer token, for an agent on another machine
Options of flows:
  --url, --api-socket, --token-file
                      as for events
  --namespace NAME    only connections of Pods in this namespace
  --pod POD           only connections of this Pod: NAMESPACE/NAME, or NAME
  --peer ADDRESS      only connections with this address
  --port PORT         only connections to this port of a server
  --role ROLE         only connections in which the Pod is the client, or the server
  --failed            only where connections failed
  --limit NUMBER      edges that the agent sends, the worst (default 1000)
  --interval TIME     time between two tables (default 3s); the first shows totals, all others rates
  --count NUMBER      tables before the end (default: no end on a terminal, otherwise 1)
  --follow, -f        show each connection when it ends: those that \`records\` of the probe flow selects
  --since TIME        with --follow also past ones: those of the last duration (10m) or since a time
  -o json|text        format (default text)
Options of check:
  --strict            also fail if a probe is unsupported or degraded
  --json              print the result as JSON
  --web.config.file FILE
                      validate this file as well
Options of convert:
  FILE                KubeSkoop's config.yaml, or a manifest with its ConfigMap; - for standard input
  --strict            also fail if something was left out
  -o yaml|configmap   print the configuration, or a ConfigMap with it (default yaml)

  -h, --help          print this text
  --version           print the version
`;
