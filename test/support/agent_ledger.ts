import type { AgentProcess } from './agent_process.ts';
import type { Exposition } from './exposition.ts';

/** Returns the ledger of a probe for one sink from the agent's metrics page. */
export async function readLedger(agent: AgentProcess, probe: string, sink: string) {
  return ledgerOf(await agent.page(), probe, sink);
}

export function ledgerOf(page: Exposition, probe: string, sink: string) {
  const sum = (name: string, labels: Record<string, string>) =>
    (page.named.get(`netsonde_events_${name}`) ?? [])
      .filter((sample) => Object.entries({ probe, ...labels }).every(([key, value]) => sample.labels[key] === value))
      .reduce((total, { value }) => total + Number(value), 0);
  const produced = sum('produced_total', {});
  const recovered = sum('recovered_total', { sink });
  const limited = sum('limited_total', {});
  const folded = sum('folded_total', {});
  const lost = sum('dropped_total', { sink: '' }) + sum('dropped_total', { sink });
  const delivered = sum('delivered_total', { sink });
  const pending = sum('pending', { sink: '' }) + sum('pending', { sink });
  return {
    produced,
    recovered,
    limited,
    folded,
    lost,
    delivered,
    pending,
    /** Number of events that no counter accounts for. */
    missing: produced + recovered - limited - folded - lost - delivered - pending,
  };
}

/** Stops the agent, and returns from its log how many events of all probes the sink delivered and dropped. */
export async function endAndCount(agent: AgentProcess, sink: string): Promise<{ delivered: number; dropped: number }> {
  agent.signal('SIGTERM');
  const { code } = await agent.exited;
  const [, delivered, rest = ''] = new RegExp(`events to ${sink}: (\\d+) delivered(.*)`).exec(agent.stderr) ?? [];
  if (code !== 0 || delivered === undefined) throw new Error(`the agent ended with ${code}:\n${agent.stderr}`);
  const dropped = [...rest.matchAll(/(\d+) dropped/g)].reduce((sum, [, count]) => sum + Number(count), 0);
  return { delivered: Number(delivered), dropped };
}
