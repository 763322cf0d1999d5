import { DEFAULT_PATHS } from '#core/paths.ts';
import { DEFAULT_LISTEN } from '#http/listen_address.ts';
import { DEFAULT_STATE, DEFAULT_URL } from './options.ts';

/** The text of `netsonde --help`: every command with its options. */
export const USAGE = `netsonde: what the network does to every Pod of this node

  netsonde serve [--config FILE] [--listen HOST:PORT]   serve metrics and events (default :${DEFAULT_LISTEN.port}, all addresses)
  netsonde check [--config FILE] [--strict] [--json]    validate the configuration, open every probe, say what became of it
  netsonde events [--follow] [--pod NAMESPACE/NAME] …   show the events of an agent
  netsonde probes                                       list all probes
  netsonde convert FILE [--strict] [-o yaml|configmap]  netsonde's configuration for one of KubeSkoop
  netsonde idle                                         wait: for a container in which other commands are run

Options of serve and check:
  --config FILE       configuration (YAML); without it all defaults hold
  --proc DIR          where procfs is mounted (default ${DEFAULT_PATHS.proc})
  --sys DIR           where sysfs is mounted (default ${DEFAULT_PATHS.sys})
  --cgroup DIR        where cgroups are mounted (default ${DEFAULT_PATHS.cgroup})
  --netns DIR         where network namespaces are mounted (default ${DEFAULT_PATHS.netns})
  --node-label K=V    a label of this node, for \`nodes\` in the configuration; may be given many times
Options of serve:
  --listen HOST:PORT  address to serve on
  --api-socket FILE   serve on this Unix socket as well
  --api-token-file FILE
                      /api/v1/* on other addresses than loopback takes this bearer token; without one it is refused there
  --api-socket-only   /api/v1/* on loopback takes the token as well: every user of the machine can ask there
  --web.config.file FILE
                      TLS, certificates of clients and passwords, as Prometheus' exporters have them: docs/web-config.md
  --health-listen HOST:PORT
                      /healthz and /readyz alone, without TLS and password, for the kubelet
  --state DIR         folder for what survives a restart: when \`for\` ends (default ${DEFAULT_STATE})
  --kubernetes MODE   names of Pods by the Kubernetes API: auto (in a Pod with a service account), on, off (default auto);
                      $NODE_NAME is the name of this node (default: the host's), $KUBECONFIG a kubeconfig
  --configmap NAMESPACE/NAME[/KEY]
                      configuration from a ConfigMap, through the API (default key netsonde.yaml)
Options of events:
  --url URL           the agent (default ${DEFAULT_URL})
  --follow, -f        show those that come, not those that were
  --since TIME        those since a duration (10m) or a time; with --follow: and those that come
  --probe NAME,…      of these probes
  --type NAME,…       of these types
  --pod POD           of this Pod: NAMESPACE/NAME, or NAME
  -o json|text        how (default text)
  --api-socket FILE   the agent's Unix socket, instead of --url
  --token-file FILE   has the bearer token, where the agent is on another machine
Options of check:
  --strict            fail as well where a probe is unsupported or degraded
  --json              print what was found as JSON
  --web.config.file FILE
                      validate this as well
Options of convert:
  FILE                KubeSkoop's config.yaml, or a manifest with its ConfigMap; - is standard input
  --strict            fail as well where something was left out
  -o yaml|configmap   print the configuration, or a ConfigMap with it (default yaml)

  -h, --help          this text
  --version           the version
`;
