import type { JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import { ICONS } from '../flows/icon.tsx';
import type { Camera } from './camera.ts';
import type { Rectangle } from './labels.ts';
import { BOX, type Layout, type Spot } from './layout.ts';
import { memo } from './memo.ts';
import { type Box, bandTitle, type Line, OUTSIDE } from './picture.ts';
import { pathOf, type Route } from './routes.ts';
import { fitted, isLong, labelOfBox, labelOfLine, thickness } from './texts.ts';
import { type LineKind, type State, stateOf } from './verdict.ts';

/** Minimum thickness of the line of an edge with a problem, even if it carries no bytes. */
const TROUBLE_LEAST = 3;

export interface Drawing {
  readonly layout: Layout;
  readonly boxes: readonly Box[];
  readonly lines: readonly Line[];
  readonly routes: ReadonlyMap<string, Route>;
  readonly labels: ReadonlyMap<string, Rectangle>;
  readonly subOf: (box: Box) => string;
}

/** Parts of the picture that are highlighted or dimmed. */
export interface Emphasis {
  /** IDs of the chosen boxes and lines. */
  readonly chosen: ReadonlySet<string>;
  /**
   * IDs of the boxes and lines next to a part that is chosen or under the pointer; undefined if there is no such part.
   */
  readonly near: ReadonlySet<string> | undefined;
  readonly isDim: (part: { readonly box: Box } | { readonly line: Line }) => boolean;
  readonly isFound: (box: Box) => boolean;
}

interface GraphProps {
  readonly camera: Camera;
  readonly drawing: Drawing;
  readonly emphasis: Emphasis;
  readonly isCluster: boolean;
  readonly pick: (id: string) => void;
  readonly hover: (id: string) => void;
  readonly step: (box: string, key: string) => void;
}

/** ARIA roles for parts of the picture, because SVG has no elements with these meanings. */
const PICTURE = { role: 'group', 'aria-label': 'Map: clients at the left, servers at the right' } as const;
/** Attributes of SVG elements are case-sensitive: `tabIndex` would have no effect. */
const BUTTON = { role: 'button', tabindex: 0 } as const;
const HIDDEN = { 'aria-hidden': true } as const;

/** Returns the ID of the box or line that is under the pointer or has the focus; empty if there is none. */
function partOf(target: EventTarget | null): string {
  return target instanceof Element ? (target.closest('[data-part]')?.getAttribute('data-part') ?? '') : '';
}

export function Graph({ camera, drawing, emphasis, isCluster, pick, hover, step }: GraphProps): JSX.Element {
  const { layout } = drawing;
  const { frame, svg, scale, height } = camera;
  const content = useMemo(
    () => <Content drawing={drawing} emphasis={emphasis} isCluster={isCluster} />,
    [drawing, emphasis, isCluster],
  );
  const press = (event: KeyboardEvent) => {
    const part = partOf(event.target);
    if (part === '') return;
    const isArrow = event.key.startsWith('Arrow');
    if (event.key === 'Enter' || event.key === ' ') pick(part);
    else if (isArrow) step(part, event.key);
    else return;
    event.preventDefault();
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the parts of the picture have roles
    <div
      class="frame"
      ref={frame}
      style={{ height: `${height}px` }}
      onClick={(event) => {
        if (!camera.isDragged()) pick(partOf(event.target));
      }}
      onKeyDown={press}
      onPointerOver={(event) => hover(partOf(event.target))}
      onPointerLeave={() => hover('')}
      onFocusCapture={(event) => {
        hover(partOf(event.target));
        camera.show(partOf(event.target));
      }}
      onBlurCapture={() => hover('')}
    >
      {/* biome-ignore lint/a11y/noSvgWithoutTitle: a title would be a tooltip over the whole picture */}
      <svg
        ref={svg}
        class="map"
        width={layout.width * scale}
        height={layout.height * scale}
        viewBox={`0 0 ${layout.width} ${layout.height}`}
        {...PICTURE}
      >
        {content}
      </svg>
    </div>
  );
}

interface ContentProps {
  readonly drawing: Drawing;
  readonly emphasis: Emphasis;
  readonly isCluster: boolean;
}

const DRAWN_LATER: Readonly<Record<State, number>> = { ok: 0, notice: 1, alert: 2 };

function Content({ drawing, emphasis, isCluster }: ContentProps): JSX.Element {
  const { layout, boxes, lines, routes, labels, subOf } = drawing;
  const { chosen, near, isDim, isFound } = emphasis;
  const rank = ({ id, trouble }: Line) => DRAWN_LATER[stateOf(trouble)] + (chosen.has(id) ? 3 : 0);
  const sorted = [...lines].sort((a, b) => rank(a) - rank(b));
  const inTrouble = lines.filter(({ trouble }) => trouble !== undefined);
  return (
    <>
      <Ends />
      {layout.bands.map(({ id, y, height }) => (
        <g key={id} class={id === OUTSIDE ? 'band outside' : 'band'}>
          <rect class="area" x="1" y={y + 1} width={layout.width - 2} height={height - 2} rx="6" />
          <text x="14" y={y + 21}>
            {bandTitle(id, isCluster)}
          </text>
        </g>
      ))}
      {sorted.map((line) => {
        const route = routes.get(line.id);
        const { trouble } = line;
        return route === undefined ? null : (
          <Wire
            key={line.id}
            id={line.id}
            route={route}
            state={stateOf(trouble)}
            kind={trouble?.kind ?? ''}
            width={widthOfLine(line)}
            label={trouble === undefined ? '' : labelOfLine(line)}
            isDim={isDim({ line })}
            isChosen={chosen.has(line.id)}
            isNear={near?.has(line.id) ?? false}
          />
        );
      })}
      {boxes.map((box) => {
        const spot = layout.spots.get(box.id);
        return spot === undefined ? null : (
          <NodeBox
            key={box.id}
            id={box.id}
            spot={spot}
            title={box.title}
            fullTitle={box.fullTitle}
            kind={box.kind}
            state={box.state}
            sub={subOf(box)}
            label={labelOfBox(box, subOf(box))}
            isDim={isDim({ box })}
            isChosen={chosen.has(box.id)}
            isFound={isFound(box)}
          />
        );
      })}
      {inTrouble.map((line) => {
        const place = labels.get(line.id);
        return place === undefined || line.trouble === undefined ? null : (
          <Tag
            key={line.id}
            id={line.id}
            place={place}
            state={line.trouble.grade}
            kind={line.trouble.kind}
            text={line.trouble.short}
            isDim={isDim({ line })}
          />
        );
      })}
    </>
  );
}

function widthOfLine({ trouble, bytesRate }: Line): number {
  const width = thickness(bytesRate);
  return Math.round((trouble === undefined ? width : Math.max(TROUBLE_LEAST, width)) * 10) / 10;
}

/** Defines the ends of lines: an arrow if the server responds, and a bar if no connection can be established. */
function Ends(): JSX.Element {
  return (
    <defs>
      {(['ok', 'notice', 'alert'] as const).map((state) => (
        <marker
          key={state}
          id={`end-${state}`}
          viewBox="0 0 8 8"
          refX="6.5"
          refY="4"
          markerWidth="9"
          markerHeight="9"
          markerUnits="userSpaceOnUse"
          orient="auto"
        >
          <path class={`tip ${state}`} d="M0 0L8 4L0 8Z" />
        </marker>
      ))}
      {(['ok', 'notice', 'alert'] as const).map((state) => (
        <marker
          key={state}
          id={`bar-${state}`}
          viewBox="0 0 6 16"
          refX="3"
          refY="8"
          markerWidth="6"
          markerHeight="16"
          markerUnits="userSpaceOnUse"
          orient="auto"
        >
          <path class={`bar ${state}`} d="M3 1V15" />
        </marker>
      ))}
    </defs>
  );
}

/** Kinds of problems that prevent connections from being established. */
const WITHOUT_CONNECTION: readonly LineKind[] = ['refused', 'denied', 'timeout', 'failed'];

export function endOfLine(kind: LineKind, state: State): string {
  return `url(#${WITHOUT_CONNECTION.includes(kind) ? 'bar' : 'end'}-${state})`;
}

interface WireProps {
  readonly id: string;
  readonly route: Route;
  readonly state: State;
  readonly kind: LineKind;
  readonly width: number;
  /** Empty for lines without a problem. The panels of the boxes at both ends list these lines instead. */
  readonly label: string;
  readonly isDim: boolean;
  readonly isChosen: boolean;
  readonly isNear: boolean;
}

const Wire = memo(function DrawWire(props: WireProps): JSX.Element {
  const { id, route, state, kind, width, label, isDim, isChosen, isNear } = props;
  const path = pathOf(route);
  const names = ['wire', state, kind, isDim && 'dim', isChosen && 'chosen', isNear && 'near'];
  const access = label === '' ? HIDDEN : { ...BUTTON, 'aria-label': label };
  return (
    <g class={names.filter(Boolean).join(' ')} data-part={id} {...access}>
      {(isChosen || label !== '') && <path class="halo" d={path} />}
      <path class="stroke" d={path} stroke-width={width} marker-end={endOfLine(kind, state)} />
      <path class="grip" d={path} />
    </g>
  );
});

interface NodeProps {
  readonly id: string;
  readonly spot: Spot;
  readonly title: string;
  readonly fullTitle: string;
  readonly kind: Box['kind'];
  readonly state: State;
  readonly sub: string;
  readonly label: string;
  readonly isDim: boolean;
  readonly isChosen: boolean;
  readonly isFound: boolean;
}

const ROUND = 20;
const SQUARE = 4;

/** Draws a box. The inner SVG clips text that is wider than the box, regardless of the font. */
const NodeBox = memo(function DrawNode(props: NodeProps): JSX.Element {
  const { id, spot, title, fullTitle, kind, state, sub, label, isDim, isChosen, isFound } = props;
  const names = ['node', kind, state === 'alert' && 'bad', isDim && 'dim', isChosen && 'chosen', isFound && 'found'];
  const { width, height } = BOX;
  return (
    <g
      class={names.filter(Boolean).join(' ')}
      data-part={id}
      transform={`translate(${spot.x - width / 2} ${spot.y - height / 2})`}
      {...{ ...BUTTON, 'aria-label': label, 'aria-pressed': isChosen }}
    >
      <title>{fullTitle}</title>
      {kind === 'group' && <rect class="behind shape" x="4" y="-4" width={width} height={height} rx={SQUARE} />}
      <rect class="shape" width={width} height={height} rx={kind === 'external' ? ROUND : SQUARE} />
      <svg x="9" width={width - 11} height={height} aria-hidden="true">
        <text class={isLong(title) ? 'name long' : 'name'} y="19">
          {fitted(title)}
        </text>{' '}
        <text class="sub" y="36">
          {sub}
        </text>
      </svg>
    </g>
  );
});

interface TagProps {
  readonly id: string;
  readonly place: Rectangle;
  readonly state: State;
  readonly kind: keyof typeof ICONS;
  readonly text: string;
  readonly isDim: boolean;
}

const Tag = memo(function DrawTag({ id, place, state, kind, text, isDim }: TagProps): JSX.Element {
  const { x, y, width, height } = place;
  return (
    <g class={`tag ${state} ${isDim ? 'dim' : ''}`} data-part={id} transform={`translate(${x} ${y})`} {...HIDDEN}>
      <rect class="pill" width={width} height={height} rx={height / 2} />
      <path class="sign" d={ICONS[kind]} transform={`translate(11.5 ${height / 2})`} />
      <text x="20" y="15.5">
        {text}
      </text>
    </g>
  );
});
