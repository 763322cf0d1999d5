import type { JSX } from 'preact';
import type { TroubleKind } from './verdict.ts';

/** SVG paths of the icons for problems, in a square whose coordinates range from -7 to 7. */
export const ICONS: Readonly<Record<TroubleKind, string>> = {
  refused: 'M-4-4L4 4M4-4L-4 4',
  denied: 'M-5 0A5 5 0 1 0 5 0A5 5 0 1 0-5 0M-3.5 3.5L3.5-3.5',
  timeout: 'M-4-5H4L-4 5H4Z',
  failed: 'M0-5L5.5 4.5H-5.5ZM0-1.5V1.5',
  full: 'M-5-5V5H5V-5M-2-1H2M-2 2H2M-2-4H2',
  lossy: 'M-6 0H-3M-1 0H1M3 0H6M-6-3V3',
  errors: 'M-5-5H5V5H-5ZM0-2.5V0.5M0 2.6V2.8',
  slow: 'M-5 0A5 5 0 1 0 5 0A5 5 0 1 0-5 0M0-3V0L2.5 1.5',
};

/**
 * Draws the icon for a kind of problem. It is hidden from screen readers, because the text next to it has the same
 * meaning.
 */
export function TroubleIcon({ kind }: { kind: TroubleKind }): JSX.Element {
  return (
    <svg class="icon" width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true">
      <path d={ICONS[kind]} />
    </svg>
  );
}
