import type { RefObject } from 'preact';
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { BOX, type Layout, type Spot } from './layout.ts';

/**
 * Minimum scale at which a picture is fitted to its frame. At a smaller scale, names would be smaller than 9 pixels.
 */
const FIT_LEAST = 0.72;
const SCALE_LEAST = 0.15;
const SCALE_MOST = 3;
const HEIGHT_LEAST = 320;
const HEIGHT_MOST = 720;
/** Minimum number of pixels of the picture that stay visible in the frame, no matter how far the picture is dragged. */
const KEEP = 60;
/** Minimum distance in pixels between the frame and a box that is moved into view. */
const MARGIN = 4;

export interface View {
  readonly x: number;
  readonly y: number;
  readonly scale: number;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** Fits the whole picture into its frame if its text stays readable, and otherwise only its width. */
export function fittedScale(layout: Size, frameWidth: number): number {
  const wide = Math.min(1, frameWidth / layout.width);
  const whole = Math.min(wide, HEIGHT_MOST / layout.height);
  return whole >= FIT_LEAST ? whole : Math.max(FIT_LEAST, wide);
}

/** Changes the scale. The given point of the frame stays in place. */
export function zoomed(view: View, factor: number, x: number, y: number): View {
  const scale = Math.min(SCALE_MOST, Math.max(SCALE_LEAST, view.scale * factor));
  const ratio = scale / view.scale;
  return { scale, x: x - (x - view.x) * ratio, y: y - (y - view.y) * ratio };
}

/** Ensures that part of the picture stays in the frame. */
export function bounded(view: View, layout: Size, frame: Size): View {
  const within = (value: number, size: number, room: number) =>
    Math.min(room - Math.min(KEEP, room), Math.max(KEEP - size, value));
  return {
    scale: view.scale,
    x: within(view.x, layout.width * view.scale, frame.width),
    y: within(view.y, layout.height * view.scale, frame.height),
  };
}

/** Moves the picture only as far as necessary to bring a box into view. */
export function showing(view: View, { x, y }: Pick<Spot, 'x' | 'y'>, frame: Size): View {
  const shift = (middle: number, half: number, room: number) => {
    const low = middle - half - MARGIN;
    const high = middle + half + MARGIN;
    if (low < 0) return -low;
    return high > room ? Math.max(room - high, -low) : 0;
  };
  const { scale } = view;
  return {
    scale,
    x: view.x + shift(view.x + x * scale, (BOX.width / 2) * scale, frame.width),
    y: view.y + shift(view.y + y * scale, (BOX.height / 2) * scale, frame.height),
  };
}

/** Returns the box that stays in place when the layout changes: the chosen one, or the one nearest to the centre. */
export function anchorOf(layout: Layout, chosen: string, view: View, frame: Size): string | undefined {
  if (layout.spots.has(chosen)) return chosen;
  const x = (frame.width / 2 - view.x) / view.scale;
  const y = (frame.height / 2 - view.y) / view.scale;
  let best: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const [id, spot] of layout.spots) {
    const distance = Math.hypot(spot.x - x, spot.y - y);
    if (distance < least) [best, least] = [id, distance];
  }
  return best;
}

export interface Camera {
  readonly frame: RefObject<HTMLDivElement | null>;
  readonly svg: RefObject<SVGSVGElement | null>;
  readonly scale: number;
  /** Height of the frame in pixels. */
  readonly height: number;
  /** Whether the picture is larger than its frame. */
  readonly isCut: boolean;
  readonly zoom: (factor: number) => void;
  readonly fit: () => void;
  readonly show: (box: string) => void;
  readonly isDragged: () => boolean;
}

/**
 * Moves and scales the picture in its frame. Moving changes only a CSS transform, so nothing is redrawn.
 * @param chosen box that stays in place when the layout changes
 */
export function useCamera(layout: Layout, chosen: string): Camera {
  const frame = useRef<HTMLDivElement | null>(null);
  const svg = useRef<SVGSVGElement | null>(null);
  const view = useRef<View>({ x: 0, y: 0, scale: 0 });
  const shown = useRef<Layout>(layout);
  const dragged = useRef(false);
  const [scale, setScale] = useState(0);
  const [width, setWidth] = useState(0);
  const latest = useRef({ layout, chosen });
  latest.current = { layout, chosen };

  const sizeOfFrame = useCallback(
    (): Size => ({ width: frame.current?.clientWidth ?? 0, height: frame.current?.clientHeight ?? 0 }),
    [],
  );
  const set = useCallback((next: View) => {
    view.current = bounded(next, latest.current.layout, sizeOfFrame());
    const { x, y } = view.current;
    if (svg.current !== null) svg.current.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
    setScale(view.current.scale);
  }, []);
  const actions = useMemo(() => {
    const fit = () => set({ x: 0, y: 0, scale: fittedScale(latest.current.layout, sizeOfFrame().width) });
    const zoomAt = (factor: number, x: number, y: number) => set(zoomed(view.current, factor, x, y));
    const zoom = (factor: number) => zoomAt(factor, sizeOfFrame().width / 2, sizeOfFrame().height / 2);
    const show = (box: string) => {
      const spot = latest.current.layout.spots.get(box);
      if (spot !== undefined) set(showing(view.current, spot, sizeOfFrame()));
    };
    return { fit, zoomAt, zoom, show, isDragged: () => dragged.current };
  }, []);

  useLayoutEffect(() => {
    const measure = () => setWidth(frame.current?.clientWidth ?? 0);
    measure();
    const observer = new ResizeObserver(measure);
    if (frame.current !== null) observer.observe(frame.current);
    return () => observer.disconnect();
  }, []);
  useLayoutEffect(() => {
    if (width > 0) actions.fit();
  }, [width]);
  useLayoutEffect(() => {
    const before = shown.current;
    shown.current = layout;
    if (before === layout || view.current.scale === 0) return;
    if (before.spots.size === 0 || layout.isNew) {
      actions.fit();
      return;
    }
    const anchor = anchorOf(before, latest.current.chosen, view.current, sizeOfFrame()) ?? '';
    const [from, to] = [before.spots.get(anchor), layout.spots.get(anchor)];
    const { x, y, scale: kept } = view.current;
    if (from === undefined || to === undefined) set(view.current);
    else set({ scale: kept, x: x + (from.x - to.x) * kept, y: y + (from.y - to.y) * kept });
  }, [layout]);
  useEffect(() => listen(frame.current, view, dragged, set, actions.zoomAt), []);

  const height = Math.round(Math.max(HEIGHT_LEAST, Math.min(HEIGHT_MOST, layout.height * scale + 2)));
  const isCut = layout.width * scale > width + 1 || layout.height * scale > height + 1;
  return { frame, svg, scale, height, isCut, ...actions };
}

/** Minimum distance in pixels that the pointer must move while pressed for a drag instead of a click. */
const DRAG_LEAST = 4;

function listen(
  frame: HTMLDivElement | null,
  view: RefObject<View>,
  dragged: RefObject<boolean>,
  set: (view: View) => void,
  zoomAt: (factor: number, x: number, y: number) => void,
): (() => void) | undefined {
  if (frame === null) return undefined;
  let start: { x: number; y: number; view: View } | undefined;
  const down = (event: PointerEvent) => {
    dragged.current = false;
    if (event.button === 0) start = { x: event.clientX, y: event.clientY, view: view.current };
  };
  const move = (event: PointerEvent) => {
    if (start === undefined) return;
    const [dx, dy] = [event.clientX - start.x, event.clientY - start.y];
    if (!dragged.current && Math.hypot(dx, dy) < DRAG_LEAST) return;
    if (!dragged.current) frame.setPointerCapture(event.pointerId);
    dragged.current = true;
    set({ ...start.view, x: start.view.x + dx, y: start.view.y + dy });
  };
  const up = () => {
    start = undefined;
  };
  const wheel = (event: WheelEvent) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = frame.getBoundingClientRect();
    zoomAt(event.deltaY < 0 ? 1.1 : 1 / 1.1, event.clientX - box.left, event.clientY - box.top);
  };
  const ending = new AbortController();
  const { signal } = ending;
  frame.addEventListener('pointerdown', down, { signal });
  frame.addEventListener('pointermove', move, { signal });
  frame.addEventListener('pointerup', up, { signal });
  frame.addEventListener('pointercancel', up, { signal });
  frame.addEventListener('wheel', wheel, { signal, passive: false });
  return () => ending.abort();
}
