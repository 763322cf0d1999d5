import type { ComponentChildren, JSX } from 'preact';
import type { AgentReport } from '#api/agent.ts';
import { AccessView } from './access_view.tsx';
import { ConfigurationView } from './configuration_view.tsx';
import { EventsView } from './events_view.tsx';
import { FlowsView } from './flows/flows_view.tsx';
import { clock, span } from './format.ts';
import { IncidentsView } from './incidents_view.tsx';
import { LedgerView } from './ledger_view.tsx';
import { formatPlace, type Place, type Tab } from './location.ts';
import { MapView } from './map/map_view.tsx';
import { PodsView } from './pods_view.tsx';
import { isProblem } from './probe_view.ts';
import { ProbesView } from './probes_view.tsx';
import { RequestsView } from './requests/requests_view.tsx';
import type { Store } from './store.ts';
import type { ViewProps } from './view.tsx';

type Places = ReadonlyMap<Tab, Place>;

const TITLES: Readonly<Record<Tab, string>> = {
  incidents: 'Incidents',
  map: 'Map',
  events: 'Events',
  flows: 'Flows',
  requests: 'Requests',
  pods: 'Pods',
  probes: 'Probes',
  ledger: 'Ledger',
  configuration: 'Configuration',
};

const VIEWS: Readonly<Record<Tab, (props: ViewProps) => JSX.Element>> = {
  incidents: IncidentsView,
  map: MapView,
  events: EventsView,
  flows: FlowsView,
  requests: RequestsView,
  pods: PodsView,
  probes: ProbesView,
  ledger: LedgerView,
  configuration: ConfigurationView,
};

export function App({ places, ...props }: ViewProps & { readonly places: Places }): JSX.Element {
  const { store, place } = props;
  const { refusal } = store;
  const View = VIEWS[place.tab];
  document.title = `${store.answers.agent?.node ?? 'agent'} · netsonde`;
  const isClosed = refusal?.kind === 'token' || refusal?.kind === 'forbidden';
  return (
    <>
      <Head store={store} />
      {isClosed ? (
        <AccessView store={store} refusal={refusal} />
      ) : (
        <>
          <Tabs store={store} open={place.tab} places={places} />
          <main class={refusal === undefined ? '' : 'stale'}>
            <Warnings store={store} />
            <View {...props} />
          </main>
        </>
      )}
    </>
  );
}

function Head({ store }: { store: Store }): JSX.Element {
  const { agent } = store.answers;
  return (
    <header>
      <div class="title">
        <h1>{agent?.node ?? 'netsonde'}</h1>
        <Liveness store={store} />
      </div>
      {agent !== undefined && (
        <dl class="facts">
          <Fact name="netsonde">{agent.version}</Fact>
          <Fact name="kernel">{agent.kernel}</Fact>
          <Fact name="up">
            <span title={`since ${agent.started}`}>{span(store.nowMs - Date.parse(agent.started))}</span>
          </Fact>
          <Fact name="Kubernetes">{kubernetesText(agent.kubernetes)}</Fact>
        </dl>
      )}
    </header>
  );
}

function kubernetesText(state: AgentReport['kubernetes']): ComponentChildren {
  if (state === null) return 'not used';
  if (state.connected) return 'connected';
  return (
    <strong class="bad" title={state.trouble ?? ''}>
      not connected, showing the last known names of Pods
    </strong>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Liveness({ store: { refusal, heardMs, streaming } }: { store: Store }): JSX.Element {
  if (refusal?.kind === 'unreachable') {
    const since =
      heardMs === undefined ? '' : `; data below is from ${clock(heardMs)}, ${span(Date.now() - heardMs)} ago`;
    return (
      <p class="live bad" role="status">
        agent not reachable{since}; retrying every 2 s
      </p>
    );
  }
  if (refusal !== undefined)
    return (
      <p class="live warn" role="status">
        no access
      </p>
    );
  if (heardMs === undefined)
    return (
      <p class="live off" role="status">
        connecting
      </p>
    );
  return (
    <p class={streaming ? 'live good' : 'live warn'} role="status">
      {streaming ? 'live' : 'live, connecting to events'}
    </p>
  );
}

interface TabsProps {
  readonly store: Store;
  readonly open: Tab;
  readonly places: Places;
}

function Tabs({ store, open: current, places }: TabsProps): JSX.Element {
  const { probes, config, sinks, incidents } = store.answers;
  const open = incidents?.open ?? 0;
  const problems = (probes ?? []).filter(isProblem).length;
  const failed = (sinks ?? []).filter(({ state }) => state === 'failed').length;
  const notes: Readonly<Partial<Record<Tab, string>>> = {
    ...(open > 0 ? { incidents: `${open} open` } : {}),
    ...(problems > 0 ? { probes: `${problems} with problems` } : {}),
    ...(failed > 0 ? { ledger: `${failed} sink${failed > 1 ? 's' : ''} failed` } : {}),
    ...(config?.successful === false ? { configuration: 'rejected' } : {}),
  };
  return (
    <nav aria-label="Sections of the page">
      {(Object.keys(TITLES) as Tab[]).map((tab) => (
        <a
          key={tab}
          href={formatPlace(places.get(tab) ?? { tab, filters: {} })}
          aria-current={tab === current ? 'page' : undefined}
        >
          {TITLES[tab]}
          {notes[tab] !== undefined && (
            <>
              {' '}
              <span class="note">{notes[tab]}</span>
            </>
          )}
        </a>
      ))}
    </nav>
  );
}

function Warnings({ store }: { store: Store }): JSX.Element {
  const { failure, streamFailure } = store;
  return (
    <>
      {failure !== '' && (
        <p class="warning">Some requests to the agent fail: {failure}. Earlier responses are shown.</p>
      )}
      {streamFailure !== '' && (
        <p class="warning">Events cannot be received: {streamFailure}. Retrying automatically.</p>
      )}
    </>
  );
}
