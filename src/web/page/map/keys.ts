import { useEffect, useRef } from 'preact/hooks';
import type { Spot } from './layout.ts';

/** Calls functions when single keys are pressed, except while the user is typing in a field. */
export function useKeys(actions: Readonly<Record<string, () => void>>): void {
  const latest = useRef(actions);
  latest.current = actions;
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isField(event.target)) return;
      const action = Object.hasOwn(latest.current, event.key) ? latest.current[event.key] : undefined;
      if (action === undefined) return;
      action();
      event.preventDefault();
    };
    addEventListener('keydown', press);
    return () => removeEventListener('keydown', press);
  }, []);
}

function isField(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && /^(?:INPUT|SELECT|TEXTAREA)$/.test(target.tagName);
}

/** Weight of vertical distances, so that an arrow key prefers a box in the same row. */
const VERTICAL = 2;

/** Returns the nearest box in the direction of an arrow key; undefined if there is none. */
export function neighbour(
  spots: ReadonlyMap<string, Spot>,
  from: string,
  key: string,
  isShown: (id: string) => boolean,
): string | undefined {
  const start = spots.get(from);
  if (start === undefined) return undefined;
  const isAhead = ({ column, y }: Spot) => {
    if (key === 'ArrowRight') return column > start.column;
    if (key === 'ArrowLeft') return column < start.column;
    return column === start.column && (key === 'ArrowDown' ? y > start.y : y < start.y);
  };
  let best: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const [id, spot] of spots) {
    if (id === from || !isAhead(spot) || !isShown(id)) continue;
    const distance = Math.hypot(spot.x - start.x, (spot.y - start.y) * VERTICAL);
    if (distance < least) [best, least] = [id, distance];
  }
  return best;
}
