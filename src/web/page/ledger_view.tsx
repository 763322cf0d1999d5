import type { JSX } from 'preact';
import type { SinkStatus } from '#api/sinks.ts';
import { clock, count, span } from './format.ts';
import { type Account, accountsOf } from './ledger.ts';
import type { Store } from './store.ts';
import { Empty, type ViewProps } from './view.tsx';

export function LedgerView({ store }: ViewProps): JSX.Element {
  const { sinks } = store.answers;
  return (
    <section>
      <h2>Sinks</h2>
      {sinks === undefined && <Empty>The agent has not sent its list of sinks yet.</Empty>}
      {sinks?.length === 0 && (
        <Empty>No sink is configured. Events are only available on this page and at /api/v1/events.</Empty>
      )}
      {sinks !== undefined && sinks.length > 0 && <Sinks sinks={sinks} nowMs={store.nowMs} />}
      <h2>Ledger</h2>
      <p class="quiet">
        Accounts for every event since the agent started. For each sink: produced = limited + folded + held + delivered
        + waiting + dropped.
      </p>
      <Accounts store={store} />
    </section>
  );
}

function Sinks({ sinks, nowMs }: { sinks: readonly SinkStatus[]; nowMs: number }): JSX.Element {
  return (
    <table class="cards sinks">
      <thead>
        <tr>
          <th scope="col">Sink</th>
          <th scope="col">State</th>
          <th scope="col">Reason and next retry</th>
          <th scope="col" class="number">
            Waiting
          </th>
          <th scope="col" class="number">
            Retries
          </th>
        </tr>
      </thead>
      <tbody>
        {sinks.map(({ name, state, since, reason, until, pending, pendingBytes, retries, rejected }) => (
          <tr key={name}>
            <th scope="row" data-label="Sink" class="value">
              {name}
            </th>
            <td data-label="State">
              <span class={`state ${state === 'failed' ? 'bad' : 'good'}`}>{state}</span>
              <span class="quiet sub">for {span(nowMs - Date.parse(since))}</span>
            </td>
            <td data-label="Why">
              {reason === '' ? <span class="quiet">accepts events</span> : <p class="reason bad">{reason}</p>}
              {until !== null && <p>next retry {untilText(until, nowMs)}</p>}
              {rejected !== null && (
                <p class="quiet">
                  last permanent rejection at {clock(rejected.at)}: {rejected.why}
                </p>
              )}
            </td>
            <td data-label="Waiting" class="number value">
              {count(pending)}
              {pending > 0 && <span class="sub quiet">{count(pendingBytes)} bytes</span>}
            </td>
            <td data-label="Retries" class="number value">
              {count(retries)}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function untilText(until: string, nowMs: number): string {
  const leftMs = Date.parse(until) - nowMs;
  return leftMs > 0 ? `in ${span(leftMs)}` : 'now';
}

const NUMBERS = ['produced', 'recovered', 'limited', 'folded', 'held', 'delivered', 'pending'] as const;

const TITLES: Readonly<Record<(typeof NUMBERS)[number], string>> = {
  produced: 'Produced',
  recovered: 'From the spool',
  limited: 'Limited',
  folded: 'Folded',
  held: 'Held',
  delivered: 'Delivered',
  pending: 'Waiting',
};

function Accounts({ store }: { store: Store }): JSX.Element {
  const { ledger } = store.answers;
  if (ledger === undefined) return <Empty>The agent has not sent its ledger yet.</Empty>;
  const accounts = accountsOf(ledger);
  const numbers = NUMBERS.filter((key) => key !== 'recovered' || accounts.some(({ recovered }) => recovered > 0));
  if (accounts.length === 0) return <Empty>No probe has produced an event since the agent started.</Empty>;
  return (
    <table class="cards ledger">
      <thead>
        <tr>
          <th scope="col">Probe</th>
          <th scope="col">Sink</th>
          {numbers.map((key) => (
            <th key={key} scope="col" class="number">
              {TITLES[key]}
            </th>
          ))}
          <th scope="col">Dropped</th>
          <th scope="col">Balance</th>
        </tr>
      </thead>
      <tbody>
        {accounts.map((account) => (
          <tr key={`${account.kind} ${account.probe} ${account.sink}`}>
            <th scope="row" data-label="Probe" class="value">
              {account.probe}
              {account.kind !== 'event' && <span class="sub">{account.kind}</span>}
            </th>
            <td data-label="Sink" class="value">
              {account.sink || '–'}
            </td>
            {numbers.map((key) => (
              <td key={key} data-label={TITLES[key]} class={`number value ${account[key] === 0 ? 'zero' : ''}`}>
                {count(account[key])}
              </td>
            ))}
            <td data-label="Dropped">
              {account.dropped.length === 0 && <span class="quiet">none</span>}
              {account.dropped.map(([cause, times]) => (
                <span key={cause} class="sub bad">
                  <span class="value">{count(times)}</span> {cause.replaceAll('_', ' ')}
                </span>
              ))}
            </td>
            <td data-label="Balance">
              <BalanceText store={store} account={account} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function BalanceText({ store, account }: { store: Store; account: Account }): JSX.Element {
  const state = store.balance.stateOf(account);
  if (account.sink === '') return <span class="quiet">no sink</span>;
  if (state === 'balances') return <span class="state good">balances</span>;
  if (state === 'on its way') return <span class="state good">{count(Math.abs(account.rest))} in transit</span>;
  return <span class="state bad">{count(account.rest)} not accounted for</span>;
}
