import type { JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import { Empty } from '../view.tsx';
import { BOX, layOut } from './layout.ts';
import { browserStorage, Places } from './places.ts';
import { fitted } from './texts.ts';

/** Shows the boxes of an earlier visit in grey until the first response arrives. */
export function Known({ node }: { node: string | undefined }): JSX.Element {
  const places = useMemo(() => new Places(node ?? '', 'workloads', browserStorage()), [node]);
  const titles = new Map(places.boxes.map(({ id, title }) => [id, title]));
  const { spots, width, height } = useMemo(() => {
    const nodes = places.boxes.map(({ id, band }) => ({ id, band, isLast: false }));
    return layOut(nodes, [], places.seats(new Set(titles.keys()), new Set(), 0));
  }, [places]);
  if (spots.size === 0) return <Empty>The first values are being collected.</Empty>;
  return (
    <>
      <p class="quiet">Waiting for the first values. Boxes from your last visit are shown in grey.</p>
      <div class="frame known">
        <svg class="map" viewBox={`0 0 ${width} ${height}`} aria-hidden="true">
          {[...spots].map(([id, { x, y }]) => (
            <g key={id} class="node dim" transform={`translate(${x - BOX.width / 2} ${y - BOX.height / 2})`}>
              <rect class="shape" width={BOX.width} height={BOX.height} rx="4" />
              <text class="name" x="9" y="27">
                {fitted(titles.get(id) ?? '')}
              </text>
            </g>
          ))}
        </svg>
      </div>
    </>
  );
}
