import type { JSX } from 'preact';
import type { ProbeReport } from '#api/probes.ts';
import { percent, seconds, span } from './format.ts';
import { lineSentence, type SparkPoint } from './line.ts';
import { type BpfCost, inOrder, stateOf } from './probe_view.ts';
import { Sparkline } from './sparkline.tsx';
import { Empty, type ViewProps } from './view.tsx';

export function ProbesView({ store }: ViewProps): JSX.Element {
  const { probes } = store.answers;
  if (probes === undefined) return <Empty>The agent has not sent its list of probes yet.</Empty>;
  return (
    <section>
      <h2>Probes</h2>
      <p class="quiet">
        Probes with problems come first, followed by running and disabled probes. Within each group, temporary states
        come first. BPF programs are measured only with <code>bpfStats: true</code> or a budget.
      </p>
      <table class="cards probes">
        <thead>
          <tr>
            <th scope="col">Probe</th>
            <th scope="col">State</th>
            <th scope="col">Purpose and reason of its state</th>
            <th scope="col">Reader</th>
            <th scope="col" class="number">
              Collect
            </th>
            <th scope="col" class="number">
              BPF
            </th>
          </tr>
        </thead>
        <tbody>
          {inOrder(probes).map((probe) => (
            <ProbeRow
              key={probe.name}
              probe={probe}
              cost={store.costs.of(probe)}
              times={store.times.line(probe.name)}
              nowMs={store.nowMs}
            />
          ))}
        </tbody>
      </table>
    </section>
  );
}

interface RowProps {
  readonly probe: ProbeReport;
  readonly cost: BpfCost | undefined;
  /** Durations of the collections in the last five minutes. */
  readonly times: readonly SparkPoint[];
  readonly nowMs: number;
}

function ProbeRow({ probe, cost, times, nowMs }: RowProps): JSX.Element {
  const { name, kind, reason, reader, since, until, summary, collectSeconds, programs } = probe;
  const { word, tone } = stateOf(probe);
  const hooks = [...new Set(programs.map(({ hook }) => hook))];
  return (
    <tr class={tone === 'off' ? 'dim' : ''}>
      <th scope="row" data-label="Probe">
        <span class="value">{name}</span> <span class="quiet">{kind}</span>
      </th>
      <td data-label="State">
        <span class={`state ${tone}`}>{word}</span>
        <span class="quiet sub" title={since}>
          for {span(nowMs - Date.parse(since))}
        </span>
        {until !== null && (
          <span class="sub until" title={until}>
            {until && Date.parse(until) > nowMs ? `reverts in ${span(Date.parse(until) - nowMs)}` : 'reverts now'}
          </span>
        )}
      </td>
      <td data-label="Purpose">
        {reason !== '' && <p class={`reason ${tone}`}>{reason}</p>}
        <p class="quiet">{summary}</p>
      </td>
      <td data-label="Reader" class="value hooks">
        {hooks.length > 0 ? hooks.map((hook) => <span key={hook}>{hook}</span>) : reader || '–'}
      </td>
      <td data-label="Collect" class="number value">
        {collectSeconds === null || tone === 'off' ? '–' : seconds(collectSeconds)}
        {collectSeconds !== null && tone !== 'off' && (
          <Sparkline points={times} tone="ok" label={lineSentence('Duration of a collection', times, seconds)} />
        )}
      </td>
      <td data-label="BPF" class="number value">
        <Cost hasPrograms={programs.length > 0} cost={cost} />
      </td>
    </tr>
  );
}

function Cost({ hasPrograms, cost }: { hasPrograms: boolean; cost: BpfCost | undefined }): JSX.Element {
  if (!hasPrograms) return <>–</>;
  if (cost === undefined) return <span class="quiet plain">not measured</span>;
  return (
    <>
      <span>{cost.share === null ? 'measuring' : `${percent(cost.share)} of a CPU`}</span>
      <span class="sub quiet">
        {cost.secondsPerRun === null ? 'no run yet' : `${seconds(cost.secondsPerRun)} per run`}
      </span>
    </>
  );
}
