import { useMemo, useRef } from 'preact/hooks';
import type { Drawing } from './graph.tsx';
import { labelsOf } from './labels.ts';
import { layOut } from './layout.ts';
import type { Snapshot } from './model.ts';
import { type Detail, firstDetail, isGroupId, type Line, type Picture, pictureOf } from './picture.ts';
import { browserStorage, Places } from './places.ts';
import { routesOf } from './routes.ts';
import { underName } from './texts.ts';
import { worseFirst } from './verdict.ts';

/**
 * Returns the level of detail from the URL, or otherwise one that fits. Once `namespaces` was selected automatically,
 * it is kept.
 */
export function useDetail(snapshot: Snapshot, level: string, opened: readonly string[] | undefined): Detail {
  const automatic = useRef<Detail | undefined>(undefined);
  return useMemo(() => {
    if (automatic.current?.level !== 'namespaces' && snapshot.seconds > 0) automatic.current = firstDetail(snapshot);
    const first = automatic.current ?? firstDetail(snapshot);
    const wanted = level === 'workloads' || level === 'namespaces' ? level : first.level;
    return { level: wanted, opened: opened === undefined ? first.opened : new Set(opened) };
  }, [snapshot, level, opened?.join(' ')]);
}

/**
 * Returns everything that is needed to draw the picture. Boxes are placed again only if the set of boxes or lines
 * changes, and lines are routed again only if the set of shown lines or the layout changes.
 * @param chosen IDs of the chosen boxes and lines; a line of a hub is shown only if it or one of its ends is chosen, or
 * if it has a problem
 * @param arranged number that changes when the user requests a new arrangement
 */
export function useDrawing(
  snapshot: Snapshot,
  detail: Detail,
  chosen: ReadonlySet<string>,
  arranged: number,
): { readonly picture: Picture; readonly drawing: Drawing } {
  const picture = useMemo(() => pictureOf(snapshot, detail), [snapshot, detail]);
  const { unknownShare } = snapshot;
  const { node, collectedAt } = snapshot.report;
  const places = useMemo(() => new Places(node, detail.level, browserStorage()), [node, detail.level]);
  const handled = useRef(arranged);
  const layout = useMemo(() => {
    const { boxes, lines } = picture;
    if (arranged !== handled.current) places.forget();
    handled.current = arranged;
    const nowMs = Date.parse(collectedAt);
    const present = new Set(boxes.map(({ id }) => id));
    const placed = layOut(boxes, lines, places.seats(present, hiddenIn(snapshot, places), nowMs));
    places.remember(placed.seats, new Map(boxes.map(({ id, title }) => [id, title])), nowMs);
    return placed;
  }, [structureOf(picture), places, arranged]);
  const lines = useMemo(() => {
    const isHub = (box: string) => layout.spots.get(box)?.isHub === true;
    const isShown = ({ id, source, target, trouble }: Line) =>
      (!isHub(source) && !isHub(target)) ||
      trouble !== undefined ||
      [id, source, target].some((part) => chosen.has(part));
    return picture.lines.filter(isShown);
  }, [picture, layout, chosen]);
  const routes = useMemo(() => routesOf(lines, layout.spots), [idsOf(lines), layout]);
  const troubled = lines
    .filter(({ trouble }) => trouble !== undefined)
    .sort((a, b) => worseFirst(a.trouble, b.trouble));
  const labels = useMemo(() => {
    const texts = troubled.map(({ id, trouble }) => ({ id, text: trouble?.short ?? '' }));
    return labelsOf(texts, routes, layout.spots);
  }, [troubled.map(({ id, trouble }) => `${id} ${trouble?.short.length}`).join('\n'), routes]);
  const drawing = useMemo(() => {
    const hubs = hubsOf(picture, layout.spots);
    const subOf: Drawing['subOf'] = (box) => underName(box, hubs.get(box.id), unknownShare);
    return { layout, boxes: picture.boxes, lines, routes, labels, subOf };
  }, [picture, layout, lines, routes, labels]);
  return { picture, drawing };
}

/** Returns the IDs of boxes that exist at any level of detail, even if they are not in this picture. */
function hiddenIn({ nodes }: Snapshot, places: Places): Set<string> {
  const groups = places.boxes.filter(({ id }) => isGroupId(id)).map(({ id }) => id);
  return new Set([...nodes.keys(), ...[...nodes.keys()].map((id) => `${id} asks`), ...groups]);
}

function structureOf({ boxes, lines }: Picture): string {
  const pairs = lines.map(({ source, target }) => `${source} > ${target}`);
  return [...boxes.map(({ id, band, isLast }) => `${id} ${band} ${isLast}`), ...new Set(pairs)].sort().join('\n');
}

function idsOf(lines: readonly Line[]): string {
  return lines
    .map(({ id }) => id)
    .sort()
    .join('\n');
}

function hubsOf(
  { lines }: Picture,
  spots: Drawing['layout']['spots'],
): Map<string, { readonly asks: number; readonly asked: number }> {
  const hubs = new Map<string, { asks: number; asked: number }>();
  for (const [id, { isHub }] of spots) {
    if (!isHub) continue;
    const targets = new Set(lines.filter(({ source }) => source === id).map(({ target }) => target));
    const sources = new Set(lines.filter(({ target }) => target === id).map(({ source }) => source));
    hubs.set(id, { asks: targets.size, asked: sources.size });
  }
  return hubs;
}
