import { useMemo } from 'preact/hooks';
import type { Drawing, Emphasis } from './graph.tsx';
import type { EdgeView } from './model.ts';
import { type Box, bandOf, type Line } from './picture.ts';
import type { Wanted } from './wanted.ts';

/** Part of the picture that is selected in the URL. */
export interface Chosen {
  readonly edge: EdgeView | undefined;
  readonly line: Line | undefined;
  readonly box: Box | undefined;
  /** Box that stays in place when the layout changes. */
  readonly anchor: string;
}

/** Determines which parts are highlighted, and which are dimmed. */
export function useEmphasis(
  { lines }: Drawing,
  { line, box, edge }: Chosen,
  hovered: string,
  wanted: Wanted,
): Emphasis {
  const { isOnly, ns, q } = wanted;
  const picked = [line?.id, box?.id].filter((id) => id !== undefined).join('\n');
  return useMemo(() => {
    const chosen = new Set(picked === '' ? [] : picked.split('\n'));
    const focus = hovered === '' ? [...chosen] : [hovered];
    const near = focus.length === 0 ? undefined : nearOf(lines, focus);
    const text = q.trim().toLowerCase();
    const isFound = ({ title, fullTitle }: Box) =>
      text !== '' && (title.toLowerCase().includes(text) || fullTitle.toLowerCase().includes(text));
    const touches = touchingOf(lines, ns);
    const isDim: Emphasis['isDim'] = (part) => {
      if ('line' in part) {
        const { id, trouble } = part.line;
        const isAside = ns !== '' && !touches.lines.has(id);
        return isAside || (trouble === undefined && (isOnly || (near !== undefined && !near.has(id))));
      }
      const { id, band, troubles } = part.box;
      const isAside = ns !== '' && band !== ns && !touches.boxes.has(id);
      return isAside || (isOnly && troubles === 0) || (text !== '' && !isFound(part.box));
    };
    return { chosen, near, isDim, isFound };
  }, [lines, picked, edge?.id, hovered, isOnly, ns, q]);
}

function nearOf(lines: readonly Line[], focus: readonly string[]): Set<string> {
  const near = new Set(focus);
  for (const { id, source, target } of lines) {
    if (focus.some((part) => part === id || part === source || part === target)) {
      for (const part of [id, source, target]) near.add(part);
    }
  }
  return near;
}

function touchingOf(lines: readonly Line[], ns: string): { lines: ReadonlySet<string>; boxes: ReadonlySet<string> } {
  const touching = lines.filter(({ edges }) =>
    edges.some(({ source, target }) => bandOf(source) === ns || bandOf(target) === ns),
  );
  return {
    lines: new Set(touching.map(({ id }) => id)),
    boxes: new Set(touching.flatMap(({ source, target }) => [source, target])),
  };
}
