import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { BpfError, netnsCookie, withNetns } from 'bpf-napi';
import * as z from 'zod';
import { toCounter } from '#core/counter.ts';
import { Cycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { readNetnsMounts } from '#pods/mounts.ts';
import { scanProcesses } from '#pods/processes.ts';
import { type AgentAddress, AgentClient, ownerText, parseJson } from '../agent_client.ts';

const { proc: PROC, netns: MOUNTS } = DEFAULT_PATHS;
const OWN = join(PROC, 'self/ns/net');
const NODE = join(PROC, '1/ns/net');
const ENOPROTOOPT = 92;

/** Network namespace whose packets are captured. */
export interface Place {
  /** Name of the Pod, of the namespace, or of the node, for people. */
  readonly name: string;
  /** Path of the namespace; undefined for that of this process. */
  readonly path: string | undefined;
  readonly inum: number;
  /** Whether this is the namespace of the node. */
  readonly isNode: boolean;
  /** Remark about the namespace, for users. */
  readonly note?: string | undefined;
}

export type Target =
  | { readonly kind: 'pod'; readonly namespace: string | undefined; readonly pod: string }
  | { readonly kind: 'netns'; readonly name: string }
  | { readonly kind: 'pid'; readonly pid: number }
  | { readonly kind: 'node' };

/**
 * Finds the namespace of a target. Asks the agent about a Pod.
 * @throws if the target does not exist, or this process may not see its namespace
 */
export async function findPlace(target: Target, agent: AgentAddress, signal: AbortSignal): Promise<Place> {
  switch (target.kind) {
    case 'node':
      return placeOfNode('the node');
    case 'pid':
      return placeAt(`process ${target.pid}`, join(PROC, String(target.pid), 'ns/net'));
    case 'netns': {
      const mounted = [...readNetnsMounts(MOUNTS).values()].flat();
      if (!mounted.includes(target.name)) throw new Error(`--netns ${target.name}: no such namespace in ${MOUNTS}`);
      return placeAt(target.name, join(MOUNTS, target.name));
    }
    case 'pod':
      return placeOfPod(target, agent, signal);
  }
}

function placeAt(name: string, path: string): Place {
  let inum: number;
  try {
    inum = statSync(path).ino;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const isGone = code === 'ENOENT' || code === 'ESRCH';
    throw new Error(
      isGone ? `${name} does not exist (${path})` : `${path}: ${code}: reading it needs CAP_SYS_PTRACE; ${RIGHTS_HELP}`,
    );
  }
  // This process need not enter its own namespace, for which it would need CAP_SYS_ADMIN.
  return { name, path: inum === statSync(OWN).ino ? undefined : path, inum, isNode: inum === statSync(nodePath()).ino };
}

/**
 * Returns the path of the node's namespace. Like the agent, the command takes its own namespace for that of the node if it
 * may not read that of process 1, because the agent's Pod shares the node's network.
 */
function nodePath(): string {
  return existsSync(NODE) ? NODE : OWN;
}

function placeOfNode(name: string, note?: string): Place {
  const path = nodePath();
  const own = "the network of process 1 cannot be read, so this captures that of the command's own container";
  const notes = [note, path === OWN ? own : undefined].filter((text) => text !== undefined);
  return { ...placeAt(name, path), note: notes.length === 0 ? undefined : notes.join('; ') };
}

/** Advice for users who lack capabilities. */
export const RIGHTS_HELP =
  'run this command in the container of the set `tools`, which is a component of the kustomization and a value of the chart, or in an ephemeral container with --profile=sysadmin (docs/capabilities.md)';

/** Fields of `/api/v1/entities` that the command needs. Other fields may change between versions of the agent. */
const ENTITIES = z.object({
  entities: z.array(
    z.object({
      kind: z.string(),
      namespace: z.string(),
      pod: z.string(),
      netns: z.string(),
      sharesNode: z.boolean(),
    }),
  ),
});

async function placeOfPod(
  { namespace, pod }: Extract<Target, { kind: 'pod' }>,
  agent: AgentAddress,
  signal: AbortSignal,
): Promise<Place> {
  const given = ownerText(namespace ?? '', pod);
  const client = await AgentClient.open(agent);
  const { data } = ENTITIES.safeParse(parseJson(await client.read('/api/v1/entities', {}, signal)));
  if (data === undefined) throw new Error('the response cannot be parsed, because the agent has a different version');
  const found = data.entities.filter(
    (entity) => entity.kind !== 'node' && entity.pod === pod && [undefined, entity.namespace].includes(namespace),
  );
  const [entity] = found;
  if (entity === undefined) {
    throw new Error(`${given}: the agent knows no such Pod on its node; is it a Pod of another node?`);
  }
  if (found.length > 1) {
    const names = found.map((other) => ownerText(other.namespace, other.pod)).join(', ');
    throw new Error(`${given}: there are several: ${names}; give the namespace, too`);
  }
  const name = ownerText(entity.namespace, entity.pod);
  if (entity.sharesNode) {
    return placeOfNode(name, `${name} shares the node's network, so this captures all of the node`);
  }
  const path = await pathOf(BigInt(entity.netns));
  if (path !== undefined) return placeAt(name, path);
  throw new Error(
    `${name}: its network namespace is neither mounted in ${MOUNTS} nor visible in a process: the Pod has ended, or seeing it needs CAP_SYS_PTRACE and the host's process IDs; ${RIGHTS_HELP}`,
  );
}

/** Returns a path of the namespace with an ID of the agent; undefined if there is none. */
export async function pathOf(id: bigint): Promise<string | undefined> {
  const { byInum } = await scanProcesses(PROC, new Cycle(new AbortController().signal));
  const paths = new Map([...byInum].map(([inum, [pid]]) => [inum, join(PROC, String(pid), 'ns/net')]));
  for (const [inum, [name = '']] of readNetnsMounts(MOUNTS)) paths.set(inum, join(MOUNTS, name));
  // Before 5.12, the inode number is the ID.
  const direct = paths.get(Number(id));
  let refused: unknown;
  for (const path of paths.values()) {
    try {
      if (withNetns(path, netnsCookie) === id) return path;
    } catch (error) {
      if (!(error instanceof BpfError)) throw error;
      refused ??= error;
    }
  }
  if (direct !== undefined) return direct;
  if (refused !== undefined) throw refused;
  return undefined;
}

/** Returns the ID by which BPF programs identify the namespace: its cookie, or its inode number before 5.12. */
export function netnsIdOf({ path, inum }: Place): NetnsId {
  try {
    return asNetnsId(toCounter(path === undefined ? netnsCookie() : withNetns(path, netnsCookie)));
  } catch (error) {
    if ((error as { errno?: number }).errno !== ENOPROTOOPT) throw error;
    return asNetnsId(inum);
  }
}
