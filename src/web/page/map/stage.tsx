import type { JSX } from 'preact';
import { useEffect, useMemo, useState } from 'preact/hooks';
import { count } from '../format.ts';
import type { ViewProps } from '../view.tsx';
import { BoxPanel } from './box_panel.tsx';
import { useCamera } from './camera.ts';
import { FIND, MapFilters, noneText } from './filters.tsx';
import { Graph } from './graph.tsx';
import { neighbour, useKeys } from './keys.ts';
import { Legend, Limits } from './legend.tsx';
import type { EdgeView, Snapshot } from './model.ts';
import { EdgeList, EdgePanel, LookAtFirst } from './panel.tsx';
import { bandOf, isGroupId, type Picture } from './picture.ts';
import { useDetail, useDrawing } from './use_drawing.ts';
import { type Chosen, useEmphasis } from './use_emphasis.ts';
import { openText, type Wanted } from './wanted.ts';

interface StageProps extends ViewProps {
  readonly snapshot: Snapshot;
  readonly wanted: Wanted;
  readonly isCluster: boolean;
}

function chosenIn({ boxes, lines }: Picture, snapshot: Snapshot, sel: string): Chosen {
  const edge = sel === '' ? undefined : snapshot.edges.find(({ id }) => id === sel);
  const line = lines.find(({ id, edges }) => id === sel || (edge !== undefined && edges.includes(edge)));
  const box = boxes.find(({ id }) => id === sel);
  return { edge, line, box, anchor: box?.id ?? line?.target ?? '' };
}

export function Stage({ store, snapshot, wanted, filter, isCluster }: StageProps): JSX.Element {
  const [arranged, setArranged] = useState(0);
  const [hovered, hover] = useState('');
  const detail = useDetail(snapshot, wanted.detail, wanted.opened);
  const parts = useMemo(() => new Set(wanted.sel === '' ? [] : [wanted.sel]), [wanted.sel]);
  const { picture, drawing } = useDrawing(snapshot, detail, parts, arranged);
  const chosen = useMemo(() => chosenIn(picture, snapshot, wanted.sel), [picture, snapshot, wanted.sel]);
  const camera = useCamera(drawing.layout, chosen.anchor);
  const emphasis = useEmphasis(drawing, chosen, hovered, wanted);

  /** Expands the namespaces that hide an edge. */
  const openFor = (edge: EdgeView | undefined) => {
    if (edge === undefined || detail.level === 'workloads') return {};
    const closed = [edge.source, edge.target].map(bandOf).filter((band) => band !== '' && !detail.opened.has(band));
    return closed.length === 0 ? {} : { open: openText([...detail.opened, ...closed]) };
  };
  const pick = (id: string) => {
    const band = drawing.boxes.find((box) => box.id === id && isGroupId(id))?.band;
    if (band !== undefined) filter({ open: openText([...detail.opened, band]), sel: '' });
    else if (id !== '') filter({ sel: id === wanted.sel ? '' : id, ...openFor(edgeOf(snapshot, id)) });
  };
  const choose = (id: string) => filter({ sel: id, ...openFor(edgeOf(snapshot, id)) });
  const turn = (by: number) => {
    const { faults } = snapshot;
    if (faults.length === 0) return;
    const index = faults.findIndex(({ edge, others }) => [edge, ...others].some(({ id }) => id === wanted.sel));
    const next = index < 0 && by < 0 ? faults.length - 1 : (index + by + faults.length) % faults.length;
    choose(faults[next]?.edge.id ?? '');
  };
  useKeys({
    n: () => turn(1),
    p: () => turn(-1),
    t: () => filter({ only: wanted.isOnly ? '' : '1' }),
    '/': () => document.getElementById(FIND)?.focus(),
    '+': () => camera.zoom(1.25),
    '-': () => camera.zoom(0.8),
    '0': camera.fit,
    Escape: () => filter({ sel: '' }),
  });
  useEffect(() => {
    for (const box of [chosen.line?.source, chosen.line?.target, chosen.box?.id]) {
      if (box !== undefined) camera.show(box);
    }
  }, [wanted.sel, chosen.anchor]);
  const step = (box: string, key: string) => {
    const isShown = (id: string) => {
      const found = drawing.boxes.find((one) => one.id === id);
      return found !== undefined && !emphasis.isDim({ box: found });
    };
    const next = neighbour(drawing.layout.spots, box, key, isShown);
    const parts = camera.svg.current?.querySelectorAll<SVGGElement>('.node') ?? [];
    for (const part of parts) if (part.dataset['part'] === next) part.focus();
  };
  const level = (value: string) => filter({ detail: value, open: '' });
  const tools = (
    <div class="zoom">
      <button type="button" onClick={() => setArranged(arranged + 1)}>
        Arrange again
      </button>
      <button type="button" aria-label="Zoom in" onClick={() => camera.zoom(1.25)}>
        +
      </button>
      <button type="button" aria-label="Zoom out" onClick={() => camera.zoom(0.8)}>
        −
      </button>
      <button type="button" onClick={camera.fit}>
        Fit
      </button>
    </div>
  );
  return (
    <>
      <MapFilters snapshot={snapshot} wanted={wanted} filter={filter} isCluster={isCluster} tools={tools}>
        <label>
          Detail
          <select value={detail.level} onChange={(event) => level(event.currentTarget.value)}>
            <option value="workloads">workloads</option>
            <option value="namespaces">namespaces</option>
          </select>
        </label>
        <Closing detail={detail.opened} isShown={detail.level === 'namespaces'} filter={filter} />
      </MapFilters>
      <div class="split">
        <div class="stage">
          {wanted.isOnly && snapshot.trouble.length === 0 && <p class="none">{noneText(snapshot, wanted)}</p>}
          <Graph
            camera={camera}
            drawing={drawing}
            emphasis={emphasis}
            isCluster={isCluster}
            pick={pick}
            hover={hover}
            step={step}
          />
          <Legend />
          <Limits snapshot={snapshot} drawing={drawing} isCut={camera.isCut} />
        </div>
        <Panel store={store} snapshot={snapshot} chosen={chosen} wanted={wanted} choose={choose} />
      </div>
    </>
  );
}

function edgeOf({ edges }: Snapshot, id: string): EdgeView | undefined {
  return edges.find((edge) => edge.id === id);
}

interface ClosingProps {
  readonly detail: ReadonlySet<string>;
  readonly isShown: boolean;
  readonly filter: ViewProps['filter'];
}

function Closing({ detail, isShown, filter }: ClosingProps): JSX.Element | null {
  if (!isShown || detail.size === 0) return null;
  return (
    <button type="button" class="pause" onClick={() => filter({ open: openText([]), sel: '' })}>
      Close {count(detail.size)} opened
    </button>
  );
}

interface PanelProps {
  readonly store: ViewProps['store'];
  readonly snapshot: Snapshot;
  readonly chosen: Chosen;
  readonly wanted: Wanted;
  readonly choose: (id: string) => void;
}

function Panel({ store, snapshot, chosen: { edge, line, box }, wanted, choose }: PanelProps): JSX.Element {
  const { map } = store;
  if (wanted.sel === '') {
    return (
      <aside class="panel" aria-label="Look at first">
        <LookAtFirst book={map} snapshot={snapshot} pick={choose} />
      </aside>
    );
  }
  const title = edge?.title ?? box?.title ?? (line === undefined ? 'Not on the map' : `${line.edges.length} edges`);
  return (
    <aside class="panel" aria-label="Selection">
      <button type="button" class="row" onClick={() => choose('')}>
        ‹ all trouble ({count(snapshot.faults.length)})
      </button>
      <div class="head">
        <h3 class="value">{title}</h3>
        <button type="button" class="close" aria-label="Close" onClick={() => choose('')}>
          ×
        </button>
      </div>
      {edge !== undefined && <EdgePanel edge={edge} book={map} changes={snapshot.changes} />}
      {edge === undefined && box !== undefined && (
        <BoxPanel box={box} snapshot={snapshot} flows={store.flows} pick={choose} />
      )}
      {edge === undefined && box === undefined && line !== undefined && (
        <EdgeList title="Edges" edges={line.edges} pick={choose} />
      )}
      {edge === undefined && box === undefined && line === undefined && (
        <p class="quiet">It had no traffic in this period, or it has ended.</p>
      )}
    </aside>
  );
}
