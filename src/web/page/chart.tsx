import type { JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import { axisMax, linePath, type SparkPoint, type SparkTone } from './line.ts';

interface ChartProps {
  readonly points: readonly SparkPoint[];
  readonly tone: SparkTone;
  readonly format: (value: number) => string;
  /** Text alternative for users who cannot see the chart. */
  readonly label: string;
  /** Labels at both ends of the time axis. */
  readonly from: string;
  readonly to: string;
  /** Positions on the time axis, from 0 to 1, at which something changed. */
  readonly marks?: readonly number[];
}

const WIDTH = 400;
const HEIGHT = 112;
const LEFT = 76;
const RIGHT = 6;
const TOP = 10;
const BOTTOM = 20;
const GRID = [0, 0.5, 1];

/** Draws a line chart with a scale. */
export function Chart({ points, tone, format, label, from, to, marks = [] }: ChartProps): JSX.Element {
  const max = axisMax(points);
  const y = (value: number) => HEIGHT - BOTTOM - (value / max) * (HEIGHT - BOTTOM - TOP);
  const x = (at: number) => LEFT + at * (WIDTH - LEFT - RIGHT);
  const line = useMemo(() => linePath(points, x, y), [points]);
  return (
    <svg class={`chart tone-${tone}`} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={label}>
      {GRID.map((part) => (
        <g key={part}>
          <path class="base" d={`M${LEFT} ${y(part * max).toFixed(1)}H${WIDTH}`} />
          <text x={LEFT - 6} y={y(part * max) + 4} text-anchor="end">
            {format(part * max)}
          </text>
        </g>
      ))}
      {marks
        .filter((at) => at >= 0 && at <= 1)
        .map((at) => (
          <path key={at} class="base change" d={`M${x(at).toFixed(1)} ${TOP}V${HEIGHT - BOTTOM}`} />
        ))}
      <path d={line} />
      <text x={LEFT} y={HEIGHT - 4}>
        {from}
      </text>
      <text x={WIDTH - 2} y={HEIGHT - 4} text-anchor="end">
        {to}
      </text>
    </svg>
  );
}
