import type { JSX } from 'preact';
import type { EventRecord, Peer } from '#api/events.ts';

/** Fields that are not part of the list of fields, because they are shown elsewhere. */
const APART = ['message', 'hint', 'stack', 'labels'];
const OWNERS: readonly string[] = ['peer', 'srcOwner', 'dstOwner'];

/** Shows all details of an event as plain text, because some of them come from untrusted processes. */
export function EventDetails({ event }: { event: EventRecord }): JSX.Element {
  const { message, labels } = event;
  const hint = event['hint'];
  const stack = event['stack'];
  const fields = Object.entries(event).filter(([key]) => !APART.includes(key));
  return (
    <div class="scene">
      <p>{message}</p>
      {typeof hint === 'string' && (
        <p class="hint">
          <strong>What to check:</strong> {hint}
        </p>
      )}
      <dl>
        {fields.map(([key, value]) => (
          <Field key={key} name={key} value={value} />
        ))}
        {Object.entries(labels ?? {}).map(([key, value]) => (
          <Field key={`label ${key}`} name={`label ${key}`} value={value} />
        ))}
      </dl>
      {Array.isArray(stack) && (
        <>
          <h3>Call stack, innermost function first</h3>
          <ol class="value">
            {stack.map((frame, index) => (
              <li key={`${index} ${frame}`}>{String(frame)}</li>
            ))}
          </ol>
        </>
      )}
    </div>
  );
}

function Field({ name, value }: { name: string; value: unknown }): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd class="value">{textOf(name, value)}</dd>
    </div>
  );
}

function textOf(name: string, value: unknown): string {
  if (value === null) return 'unknown';
  if (value === '' && (name === 'namespace' || name === 'pod')) return '(none)';
  if (OWNERS.includes(name)) return ownerText(value as Peer);
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function ownerText({ kind, namespace, name, workload, service, ip }: Peer): string {
  return [kind, [namespace, name].filter(Boolean).join('/'), workload ?? service, ip].filter(Boolean).join(' ');
}
