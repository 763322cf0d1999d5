import type { JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import { axisMax, linePath, type SparkPoint, type SparkTone } from './line.ts';

interface SparkProps {
  readonly points: readonly SparkPoint[];
  readonly tone: SparkTone;
  /** Sentence for users who cannot see the line. */
  readonly label: string;
}

const WIDTH = 110;
const HEIGHT = 22;
/** Space for the width of the line, and for the dot at its end. */
const MARGIN = 3;

/** Draws a line without axes. A dot marks its last value. */
export function Sparkline({ points, tone, label }: SparkProps): JSX.Element {
  const { line, last } = useMemo(() => drawn(points), [points]);
  return (
    <svg
      class={`spark tone-${tone}`}
      width={WIDTH}
      height={HEIGHT}
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      role="img"
      aria-label={label}
    >
      <path class="base" d={`M0 ${HEIGHT - 1.5}H${WIDTH}`} />
      <path d={line} />
      {last !== undefined && <circle cx={last.x} cy={last.y} r="2" />}
    </svg>
  );
}

function drawn(points: readonly SparkPoint[]): { line: string; last: { x: string; y: string } | undefined } {
  const max = axisMax(points);
  const x = (at: number) => MARGIN + at * (WIDTH - 2 * MARGIN);
  const y = (value: number) => HEIGHT - MARGIN - (value / max) * (HEIGHT - 2 * MARGIN);
  const end = points.at(-1);
  const last =
    end === undefined || end.value === null ? undefined : { x: x(end.at).toFixed(1), y: y(end.value).toFixed(1) };
  return { line: linePath(points, x, y), last };
}
