const TABS = ['incidents', 'map', 'events', 'flows', 'requests', 'pods', 'probes', 'ledger', 'configuration'] as const;
export type Tab = (typeof TABS)[number];

/** State that is stored in the fragment of the URL: the open tab and its filters. */
export interface Place {
  readonly tab: Tab;
  readonly filters: Readonly<Record<string, string>>;
}

export function parsePlace(hash: string): Place {
  const [name = '', query = ''] = hash.replace(/^#/, '').split('?', 2);
  const tab = TABS.find((candidate) => candidate === name) ?? 'incidents';
  return { tab, filters: Object.fromEntries(new URLSearchParams(query)) };
}

export function formatPlace({ tab, filters }: Place): string {
  const query = new URLSearchParams(Object.entries(filters).filter(([, value]) => value !== '')).toString();
  return `#${tab}${query === '' ? '' : `?${query}`}`;
}
