import type { JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import { bytesRate, clock, count, span } from '../format.ts';
import { useNarrow } from '../use_narrow.ts';
import { Empty, type ViewProps } from '../view.tsx';
import { Cards } from './cards.tsx';
import { Directory } from './directory.ts';
import { MapFilters, noneText } from './filters.tsx';
import { Known } from './known.tsx';
import { type Snapshot, snapshotOf } from './model.ts';
import { bandOf } from './picture.ts';
import { Stage } from './stage.tsx';
import { selectionOf, type Wanted } from './wanted.ts';

export function MapView(props: ViewProps): JSX.Element {
  const { store, place } = props;
  const { map } = store;
  const { version } = map.history;
  const { entities = [] } = store.answers;
  const flows = store.flows.report;
  const directory = useMemo(
    () => new Directory(map.report?.nodes ?? [], entities, flows?.edges ?? []),
    [map.report, entities, flows],
  );
  const snapshot = useMemo(() => snapshotOf(map, store.log.events, directory), [version, store.log.events, directory]);
  const isNarrow = useNarrow();
  return (
    <section class="mapview">
      <h2>Map</h2>
      <Content {...props} snapshot={snapshot} isNarrow={isNarrow} wanted={selectionOf(place.filters)} />
    </section>
  );
}

interface ContentProps extends ViewProps {
  readonly snapshot: Snapshot | undefined;
  readonly isNarrow: boolean;
  readonly wanted: Wanted;
}

function Content({ snapshot, isNarrow, wanted, ...props }: ContentProps): JSX.Element {
  const { store, filter } = props;
  const { unavailable } = store.map;
  if (unavailable !== '') {
    return (
      <Empty>
        {unavailable.charAt(0).toUpperCase()}
        {unavailable.slice(1)}.
      </Empty>
    );
  }
  if (snapshot === undefined) return <Known node={store.answers.agent?.node} />;
  if (snapshot.report.edges.length === 0) {
    return <Empty>No connections yet. The first numbers come after two collections (10 s).</Empty>;
  }
  const isCluster = store.answers.agent?.kubernetes !== null;
  return (
    <>
      <Lead snapshot={snapshot} />
      {isNarrow ? (
        <>
          <MapFilters snapshot={snapshot} wanted={wanted} filter={filter} isCluster={isCluster} />
          <NarrowList {...props} snapshot={snapshot} wanted={wanted} />
        </>
      ) : (
        <Stage {...props} snapshot={snapshot} wanted={wanted} isCluster={isCluster} />
      )}
    </>
  );
}

function Lead({ snapshot: { report, edges, trouble, faults, seconds, nodes } }: { snapshot: Snapshot }): JSX.Element {
  const bad = faults.filter(({ edge }) => edge.trouble?.grade === 'alert').length;
  const namespaces = new Set([...nodes.values()].map(({ namespace }) => namespace).filter((name) => name !== ''));
  const workloads = [...nodes.values()].filter(({ kind }) => kind !== 'external' && kind !== 'unknown').length;
  const total = edges.reduce((sum, { bytesRate: bytes }) => sum + bytes, 0);
  return (
    <p class="quiet">
      What this node sees: {count(workloads)} {workloads === 1 ? 'box' : 'boxes'}
      {namespaces.size > 0 && `, ${count(namespaces.size)} namespace${namespaces.size === 1 ? '' : 's'}`}
      {seconds === 0
        ? '. Rates need two readings of the counters. The second one follows shortly.'
        : `, ${bytesRate(total)}; averages over the last ${span(seconds * 1_000)}, up to ${clock(report.collectedAt)}. `}
      {seconds > 0 && (
        <>
          <strong class={bad > 0 ? 'bad' : ''}>{count(bad)} bad</strong>,{' '}
          <strong class={faults.length > bad ? 'warn' : ''}>{count(faults.length - bad)} worth a look</strong>,{' '}
          {count(edges.length - trouble.length)} quiet.
        </>
      )}
    </p>
  );
}

function NarrowList({
  store,
  filter,
  snapshot,
  wanted,
}: ViewProps & { snapshot: Snapshot; wanted: Wanted }): JSX.Element {
  const text = wanted.q.trim().toLowerCase();
  const others = new Map(snapshot.faults.map((fault) => [fault.edge.id, fault.others]));
  const isFiltered = text !== '' || wanted.ns !== '';
  const folded = new Set(isFiltered ? [] : [...others.values()].flat().map(({ id }) => id));
  const edges = snapshot.edges.filter(
    ({ id, title, trouble, source, target }) =>
      (!folded.has(id) || id === wanted.sel) &&
      (!wanted.isOnly || trouble !== undefined) &&
      (wanted.ns === '' || bandOf(source) === wanted.ns || bandOf(target) === wanted.ns) &&
      title.toLowerCase().includes(text),
  );
  if (edges.length === 0) return <Empty>{noneText(snapshot, wanted)}</Empty>;
  return (
    <Cards
      book={store.map}
      edges={edges}
      othersOf={(id) => others.get(id) ?? []}
      changes={snapshot.changes}
      chosen={wanted.sel}
      pick={(sel) => filter({ sel })}
    />
  );
}
