import type { JSX, TargetedPointerEvent } from 'preact';
import { useState } from 'preact/hooks';
import type { TroubleRow } from '#api/trouble.ts';
import { HISTORY_MS } from '../flows/history.ts';
import { clock, count, entityName, percent, rate } from '../format.ts';
import { axisMax, linePath, type SparkPoint } from '../line.ts';
import type { Store } from '../store.ts';
import { COLUMNS, type Column, gradeOf } from '../trouble.ts';
import { useNarrow } from '../use_narrow.ts';
import { gapsOf, type Mark, marksOf, valueAt } from './marks.ts';

/** Columns with a chart, from top to bottom. */
const SHOWN = ['failed', 'retransmitted', 'drops', 'resets', 'overflows'];
/**
 * Distances that the arrow keys (`STEP`) and PageUp and PageDown (`PAGE`) move the cursor, as fractions of the axis.
 */
const STEP = 10_000 / HISTORY_MS;
const PAGE = 6 * STEP;
const TICKS_MS = [300_000, 240_000, 180_000, 120_000, 60_000, 0];

interface Shape {
  readonly width: number;
  readonly left: number;
  readonly right: number;
  readonly row: number;
  readonly isNarrow: boolean;
}

const WIDE: Shape = { width: 1216, left: 190, right: 90, row: 70, isNarrow: false };
const NARROW: Shape = { width: 344, left: 8, right: 8, row: 82, isNarrow: true };

interface Row {
  readonly column: Column;
  readonly points: readonly SparkPoint[];
}

interface Props {
  readonly store: Store;
  readonly row: TroubleRow;
  readonly close: () => void;
}

/** Shows numbers, events and changes of a Pod on one time axis. */
export function PodTimeline({ store: { rates, log }, row, close }: Props): JSX.Element {
  const [cursor, setCursor] = useState(1);
  const shape = useNarrow() ? NARROW : WIDE;
  const endMs = Date.parse(rates.trouble?.collected ?? '');
  const rows = SHOWN.flatMap((key) => COLUMNS.filter((column) => column.key === key)).map((column) => ({
    column,
    points: rates.line(row, column),
  }));
  const marks = marksOf(log.events, row.namespace, row.pod, endMs);
  const timeAt = (at: number) => clock(endMs - (1 - at) * HISTORY_MS);
  const words = rows.map(
    ({ column, points }) => `${column.title.toLowerCase()} ${textOf(column, valueAt(points, cursor))}`,
  );
  const sentence = `At ${timeAt(cursor)}: ${words.join(', ')}.`;
  const name = entityName(row);
  const bottom = rows.length * shape.row;
  const x = (at: number) => shape.left + at * (shape.width - shape.left - shape.right);
  const move = (event: TargetedPointerEvent<HTMLDivElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    const place = ((event.clientX - box.left) / box.width) * shape.width;
    setCursor(within((place - shape.left) / (shape.width - shape.left - shape.right)));
  };
  const press = (event: KeyboardEvent) => {
    const by = { ArrowLeft: -STEP, ArrowRight: STEP, PageUp: -PAGE, PageDown: PAGE }[event.key];
    const to = { Home: 0, End: 1 }[event.key] ?? (by === undefined ? undefined : cursor + by);
    if (to === undefined) return;
    setCursor(within(to));
    event.preventDefault();
  };
  return (
    <section class="timeline" aria-label={`${name} in time`}>
      <div class="head">
        <h3 class="value">{name}</h3>
        <button type="button" class="close" aria-label="Close" onClick={close}>
          ×
        </button>
      </div>
      <p class="quiet">
        Numbers, events and changes of the last 5 minutes on one axis of time. <output>{sentence}</output>
      </p>
      <div
        class="axis"
        role="slider"
        tabIndex={0}
        aria-label="Time"
        aria-valuemin={0}
        aria-valuemax={HISTORY_MS / 1_000}
        aria-valuenow={Math.round((cursor * HISTORY_MS) / 1_000)}
        aria-valuetext={sentence}
        onPointerDown={move}
        onPointerMove={move}
        onKeyDown={press}
      >
        <svg viewBox={`0 0 ${shape.width} ${bottom + 86}`} aria-hidden="true">
          <Axis shape={shape} bottom={bottom} x={x} timeAt={timeAt} />
          {gapsOf(rows[0]?.points ?? []).map(({ from, to }) => (
            <rect key={from} class="gap" x={x(from)} y="4" width={x(to) - x(from)} height={bottom} />
          ))}
          {rows.map((one, index) => (
            <ChartRow key={one.column.key} row={one} top={index * shape.row} shape={shape} x={x} />
          ))}
          {!shape.isNarrow && (
            <>
              <text class="name" x="0" y={bottom + 26}>
                Events
              </text>
              <text class="name" x="0" y={bottom + 52}>
                Changes of the node
              </text>
            </>
          )}
          {marks.map((mark) => (
            <MarkSign key={mark.key} mark={mark} x={x(mark.at)} bottom={bottom} />
          ))}
          <path class="cursor" d={`M${x(cursor)} 4V${bottom + 60}`} />
        </svg>
      </div>
      <MarkList marks={marks} choose={setCursor} />
    </section>
  );
}

function within(at: number): number {
  return Math.min(1, Math.max(0, at));
}

function textOf({ unit }: Column, value: number | null): string {
  if (value === null) return 'unknown';
  return unit === 'share' ? percent(value) : rate(value);
}

interface AxisProps {
  readonly shape: Shape;
  readonly bottom: number;
  readonly x: (at: number) => number;
  readonly timeAt: (at: number) => string;
}

function Axis({ shape, bottom, x, timeAt }: AxisProps): JSX.Element {
  const ticks = shape.isNarrow ? [300_000, 150_000, 0] : TICKS_MS;
  return (
    <>
      {ticks.map((ms) => {
        const at = 1 - ms / HISTORY_MS;
        const anchor = shape.isNarrow && at === 0 ? 'start' : shape.isNarrow && at === 1 ? 'end' : 'middle';
        return (
          <g key={ms}>
            <path class="grid" d={`M${x(at)} 4V${bottom + 60}`} />
            <text x={x(at)} y={bottom + 78} text-anchor={anchor}>
              {timeAt(at)}
            </text>
          </g>
        );
      })}
    </>
  );
}

interface ChartRowProps {
  readonly row: Row;
  readonly top: number;
  readonly shape: Shape;
  readonly x: (at: number) => number;
}

function ChartRow({ row: { column, points }, top, shape, x }: ChartRowProps): JSX.Element {
  const max = axisMax(points);
  const head = shape.isNarrow ? 32 : 12;
  const base = top + shape.row - 10;
  const y = (value: number) => base - (value / max) * (shape.row - 10 - head);
  const last = points.at(-1)?.value ?? null;
  const grade = gradeOf(Math.max(0, ...points.map(({ value }) => value ?? 0)), column.limit);
  const right = shape.width - shape.right;
  return (
    <g class={`tone-${grade === 'none' ? 'ok' : grade}`}>
      <path class="grid" d={`M${shape.left} ${base}H${right}`} />
      <text class="name" x={shape.isNarrow ? shape.left : 0} y={top + (shape.isNarrow ? 22 : shape.row / 2)}>
        {column.title}
      </text>
      {!shape.isNarrow && (
        <>
          <text x={shape.left - 8} y={y(max) + 4} text-anchor="end">
            {textOf(column, max)}
          </text>
          <text x={shape.left - 8} y={base + 4} text-anchor="end">
            0
          </text>
        </>
      )}
      <path class="line" d={linePath(points, x, y)} />
      <text
        class="now"
        x={shape.isNarrow ? right - 6 : right + 8}
        y={shape.isNarrow ? top + 22 : y(last ?? 0) + 4}
        text-anchor={shape.isNarrow ? 'end' : 'start'}
      >
        {last === null ? '' : textOf(column, last)}
      </text>
    </g>
  );
}

/** Draws a triangle for a critical event, a diamond for any other event, and a square with a line for a change. */
function MarkSign({ mark, x, bottom }: { mark: Mark; x: number; bottom: number }): JSX.Element {
  if (mark.isChange) {
    return (
      <g class="change">
        <path class="grid" d={`M${x} 4V${bottom + 44}`} />
        <rect x={x - 4} y={bottom + 44} width="8" height="8" />
      </g>
    );
  }
  const shape = mark.severity === 'critical' ? 'M-6 5L0-6L6 5Z' : 'M0-6L6 0L0 6L-6 0Z';
  return <path class={`event ${mark.severity}`} d={shape} transform={`translate(${x} ${bottom + 22})`} />;
}

function MarkList({ marks, choose }: { marks: readonly Mark[]; choose: (at: number) => void }): JSX.Element {
  if (marks.length === 0) return <p class="quiet">No events of this Pod, and no changes of the node.</p>;
  return (
    <ol>
      {marks.map((mark) => (
        <li key={mark.key}>
          <button type="button" class="toggle value" onClick={() => choose(mark.at)}>
            {clock(mark.time)}
          </button>{' '}
          <span class="value">{mark.type}</span>
          {mark.count > 1 && <span class="quiet"> {count(mark.count)} times</span>}
          <span class="sub quiet">{mark.message}</span>
        </li>
      ))}
    </ol>
  );
}
