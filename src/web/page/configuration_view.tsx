import type { JSX } from 'preact';
import type { ConfigStatus } from '#api/config.ts';
import { documentText } from './document_text.ts';
import { clock, span } from './format.ts';
import { Empty, type ViewProps } from './view.tsx';

export function ConfigurationView({ store }: ViewProps): JSX.Element {
  const { config } = store.answers;
  if (config === undefined) return <Empty>The agent has not sent its configuration yet.</Empty>;
  const { rejected, generation, appliedMs, successful, document } = config;
  const ago = (time: number) => `${clock(time)}, ${span(store.nowMs - time)} ago`;
  return (
    <section>
      {rejected !== null && <Rejected rejected={rejected} isCurrent={!successful} ago={ago} />}
      <h2>Active configuration</h2>
      <dl class="facts">
        <div>
          <dt>generation</dt>
          <dd>{generation}</dd>
        </div>
        <div>
          <dt>applied</dt>
          <dd>{generation === 0 ? 'not yet, all defaults apply' : ago(appliedMs)}</dd>
        </div>
        <div>
          <dt>from</dt>
          <dd>{sourceOf(config)}</dd>
        </div>
      </dl>
      <p class="quiet">
        The current configuration of this node including all defaults. Values that may be secret are hidden. Temporary
        sections that have expired are omitted.
      </p>
      <pre class="document">{documentText(document)}</pre>
    </section>
  );
}

function sourceOf({ file, configMap }: ConfigStatus): string {
  if (configMap !== null) return `ConfigMap ${configMap}, from the Kubernetes API`;
  return file ?? 'no file, all defaults apply';
}

interface RejectedProps {
  readonly rejected: NonNullable<ConfigStatus['rejected']>;
  /** Whether no other configuration has been applied since the rejection. */
  readonly isCurrent: boolean;
  readonly ago: (time: number) => string;
}

function Rejected({ rejected: { at, faults }, isCurrent, ago }: RejectedProps): JSX.Element {
  return (
    <>
      <h2>{isCurrent ? 'The last configuration was rejected' : 'Rejected before'}</h2>
      <p>
        At {ago(Date.parse(at))}.{' '}
        {isCurrent
          ? 'No part of it was applied, so the configuration below stays active.'
          : 'A later configuration has been applied since.'}
      </p>
      <table class="cards faults">
        <thead>
          <tr>
            <th scope="col">Where</th>
            <th scope="col">Value</th>
            <th scope="col">Allowed</th>
          </tr>
        </thead>
        <tbody>
          {faults.map(({ path, value, allowed }, index) => (
            <tr key={`${index} ${path}`}>
              <th scope="row" data-label="Where" class="value">
                {path || 'the document'}
              </th>
              <td data-label="Value" class="value">
                {value || '–'}
              </td>
              <td data-label="Allowed">{allowed}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}
