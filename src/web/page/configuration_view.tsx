import type { JSX } from 'preact';
import type { ConfigStatus } from '#api/config.ts';
import { documentText } from './document_text.ts';
import { clock, span } from './format.ts';
import { Empty, type ViewProps } from './view.tsx';

export function ConfigurationView({ store }: ViewProps): JSX.Element {
  const { config } = store.answers;
  if (config === undefined) return <Empty>The agent has not said yet what holds.</Empty>;
  const { rejected, generation, appliedMs, successful, document } = config;
  const ago = (time: number) => `${clock(time)}, ${span(store.nowMs - time)} ago`;
  return (
    <section>
      {rejected !== null && <Rejected rejected={rejected} isCurrent={!successful} ago={ago} />}
      <h2>In force</h2>
      <dl class="facts">
        <div>
          <dt>generation</dt>
          <dd>{generation}</dd>
        </div>
        <div>
          <dt>applied</dt>
          <dd>{generation === 0 ? 'not yet: all defaults hold' : ago(appliedMs)}</dd>
        </div>
        <div>
          <dt>from</dt>
          <dd>{sourceOf(config)}</dd>
        </div>
      </dl>
      <p class="quiet">
        As it holds on this node now, with every default; what may be a secret is hidden. Sections whose time is over
        are left out.
      </p>
      <pre class="document">{documentText(document)}</pre>
    </section>
  );
}

function sourceOf({ file, configMap }: ConfigStatus): string {
  if (configMap !== null) return `ConfigMap ${configMap}, by the Kubernetes API`;
  return file ?? 'no file: all defaults';
}

interface RejectedProps {
  readonly rejected: NonNullable<ConfigStatus['rejected']>;
  /** No later one was applied. */
  readonly isCurrent: boolean;
  readonly ago: (time: number) => string;
}

function Rejected({ rejected: { at, faults }, isCurrent, ago }: RejectedProps): JSX.Element {
  return (
    <>
      <h2>{isCurrent ? 'The last configuration was rejected' : 'Rejected before'}</h2>
      <p>
        At {ago(Date.parse(at))}.{' '}
        {isCurrent ? 'Nothing of it holds; the one below stays in force.' : 'A later one was applied since.'}
      </p>
      <table class="cards faults">
        <thead>
          <tr>
            <th scope="col">Where</th>
            <th scope="col">What is there</th>
            <th scope="col">What would be right</th>
          </tr>
        </thead>
        <tbody>
          {faults.map(({ path, value, allowed }, index) => (
            <tr key={`${index} ${path}`}>
              <th scope="row" data-label="Where" class="value">
                {path || 'the document'}
              </th>
              <td data-label="What is there" class="value">
                {value || '–'}
              </td>
              <td data-label="Right">{allowed}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}
