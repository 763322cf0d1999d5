import type { JSX } from 'preact';
import { TroubleIcon } from '../flows/icon.tsx';
import type { TroubleKind } from '../flows/verdict.ts';
import { bytes, count, percent } from '../format.ts';
import { formatPlace } from '../location.ts';
import { type Drawing, endOfLine } from './graph.tsx';
import type { Snapshot } from './model.ts';
import { KIND_WORDS, thickness, unplacedText } from './texts.ts';

const SAMPLES = [1e3, 1e5, 1e7];
/** Explains the widths, patterns, icons, ends and colours of lines. Any kind of problem can have either colour. */
export function Legend(): JSX.Element {
  return (
    <ul class="legend quiet">
      <li>
        {SAMPLES.map((bytesPerSecond) => (
          <svg key={bytesPerSecond} width="16" height="10" aria-hidden="true" class="wire ok">
            <path class="stroke" d="M0 5H16" stroke-width={thickness(bytesPerSecond)} />
          </svg>
        ))}{' '}
        1 kB/s, 100 kB/s, 10 MB/s
      </li>
      <li>
        <svg width="30" height="16" aria-hidden="true" class="wire ok">
          <path class="stroke" d="M0 8H26" stroke-width="1.6" marker-end={endOfLine('', 'ok')} />
        </svg>{' '}
        left asks right
      </li>
      {(Object.entries(KIND_WORDS) as [TroubleKind, string][]).map(([kind, words]) => (
        <li key={kind}>
          <svg width="34" height="16" aria-hidden="true" class={`wire ok ${kind}`}>
            <path class="stroke" d="M0 8H30" stroke-width="3" marker-end={endOfLine(kind, 'ok')} />
          </svg>{' '}
          <TroubleIcon kind={kind} /> {words}
        </li>
      ))}
      <li>a bar at the end: no connection begins</li>
      {(['alert', 'notice'] as const).map((grade) => (
        <li key={grade}>
          <svg width="62" height="20" aria-hidden="true" class={`tag ${grade}`}>
            <rect class="pill" x="1" y="1" width="60" height="18" rx="9" />
            <text x="31" y="14" text-anchor="middle">
              {grade === 'alert' ? '30 %' : '2 %'}
            </text>
          </svg>{' '}
          {grade === 'alert' ? 'red, filled label, thick frame: bad' : 'amber, outlined label: worth a look'}
        </li>
      ))}
    </ul>
  );
}

/** Describes what is missing from the map. */
export function Limits({
  snapshot,
  drawing,
  isCut,
}: {
  snapshot: Snapshot;
  drawing: Drawing;
  isCut: boolean;
}): JSX.Element {
  const { report, unknownShare, unplaced } = snapshot;
  const { restBytes, restRequests, omittedEdges, udp, dnsNames } = report;
  const hubs = drawing.boxes.filter(({ id }) => drawing.layout.spots.get(id)?.isHub);
  return (
    <ul class="limits quiet">
      {isCut && <li>The picture is larger than its frame: drag it, or zoom out with −.</li>}
      {hubs.length > 0 && (
        <li>
          {hubs.map(({ title }) => title).join(', ')}: {hubs.length === 1 ? 'a hub, its' : 'hubs, their'} lines show
          when the box is chosen, or in trouble.
        </li>
      )}
      <li>
        {udp === 'off'
          ? 'UDP and QUIC are not on this map: the probe udpflow is off.'
          : 'UDP has no connections, so its lines show bytes and denials only. QUIC is UDP.'}
      </li>
      {dnsNames === 'off' && (
        <li>Servers outside have no names, unless the configuration names their networks: the probe dns is off.</li>
      )}
      <li>
        Requests are counted where the probes http and dns run, and can read them.
        {restRequests > 0 && ` ${count(restRequests)} since the start belong to no line.`}
      </li>
      <li>{percent(unknownShare)} of the bytes of the last minute are with peers whose names are unknown.</li>
      {(restBytes > 0 || omittedEdges > 0) && (
        <li>
          {bytes(restBytes)} since the start belong to connections without an edge of their own (<code>*</code>)
          {omittedEdges > 0 && `; ${count(omittedEdges)} more edges exceed a limit`}.
        </li>
      )}
      <li>
        Denials and drops come from events, which are sampled.
        {unplacedText(unplaced, udp)}{' '}
        <a href={formatPlace({ tab: 'events', filters: { type: 'packet_drop' } })}>All drops</a>
      </li>
    </ul>
  );
}
