import type { AgentProcess } from './agent_process.ts';
import type { Exposition } from './exposition.ts';

/** What the page says became of the events of a probe, as far as a sink is concerned. */
export async function readLedger(agent: AgentProcess, probe: string, sink: string) {
  return ledgerOf(await agent.page(), probe, sink);
}

export function ledgerOf(page: Exposition, probe: string, sink: string) {
  const sum = (name: string, labels: Record<string, string>) =>
    page.samples
      .filter((sample) => sample.name === `netsonde_events_${name}`)
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
    /** Events that nothing accounts for. */
    missing: produced + recovered - limited - folded - lost - delivered - pending,
  };
}
