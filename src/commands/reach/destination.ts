import type { ApiSession } from '#kubernetes/api.ts';
import { ClusterWorld } from '../policy/cluster_world.ts';
import type { ReachArguments } from './arguments.ts';
import type { KnownEntity } from './witness.ts';

export interface Destination {
  /** Name or address, as the client is given it. */
  readonly host: string;
  readonly port: number;
  /** The Pod of the destination, if it is known. */
  readonly pod: { readonly namespace: string; readonly name: string } | undefined;
  readonly note: string | undefined;
}

/**
 * Returns what the client connects to. A Pod is found among the entities of the agents, or by the Kubernetes API. Any
 * other name with a namespace is that of a Service, which the client's resolver finds.
 * @throws if the port is missing and no Service has one
 */
export async function destinationOf(
  { to, protocol }: Pick<ReachArguments, 'to' | 'protocol'>,
  entities: readonly KnownEntity[],
  signal: AbortSignal,
): Promise<Destination> {
  const { port = 0 } = to;
  if (to.kind === 'host') return { host: to.host, port, pod: undefined, note: undefined };
  const { namespace, name } = to;
  const text = `${namespace}/${name}`;
  const entity = entities.find((one) => one.namespace === namespace && one.pod === name);
  const [ip] = entity?.ips ?? [];
  const needsPort = protocol !== 'icmp' && to.port === undefined;
  if (ip !== undefined) {
    if (needsPort) throw new Error(`--to ${text} is a Pod: give the port, too`);
    return { host: ip, port, pod: { namespace, name }, note: `${text} is the Pod with the address ${ip}` };
  }
  const { found, failure } = await lookUp(namespace, name, signal);
  if (found !== undefined && 'ip' in found) {
    if (needsPort) throw new Error(`--to ${text} is a Pod: give the port, too`);
    return { host: found.ip, port, pod: { namespace, name }, note: `${text} is the Pod with the address ${found.ip}` };
  }
  if (needsPort && found === undefined) {
    throw new Error(
      `--to ${text}: give the port, too, because the Service could not be read: ${failure ?? 'it does not exist'}`,
    );
  }
  return {
    host: `${name}.${namespace}.svc`,
    port: to.port ?? (found?.port || 0),
    pod: undefined,
    note: `${text} is taken for a Service, ${name}.${namespace}.svc`,
  };
}

interface LookedUp {
  readonly found: { readonly ip: string } | { readonly port: number } | undefined;
  readonly failure: string | undefined;
}

async function lookUp(namespace: string, name: string, signal: AbortSignal): Promise<LookedUp> {
  const [{ openSession }, { PolicyObjects }, { podFacts }] = await Promise.all([
    import('#kubernetes/session.ts'),
    import('#kubernetes/policy_objects.ts'),
    import('#policies/objects.ts'),
  ]);
  let session: ApiSession;
  try {
    session = openSession();
  } catch (error) {
    return { found: undefined, failure: (error as Error).message };
  }
  using _ = session;
  const objects = new PolicyObjects(session, signal);
  const pod = await objects.pod(namespace, name);
  const [address] = 'value' in pod && pod.value !== undefined ? (podFacts(pod.value).addresses ?? []) : [];
  if (address !== undefined) return { found: { ip: address.text }, failure: undefined };
  const service = await new ClusterWorld(objects, false).service(namespace, name);
  const [port] = service?.ports ?? [];
  const missing = 'missing' in pod ? pod.missing : undefined;
  return { found: port === undefined ? undefined : { port: port.port }, failure: missing };
}
