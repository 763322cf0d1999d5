import { dashboard } from './dashboard.ts';
import { UIDS } from './links.ts';
import { counts, OF_CHOICE, ratesByType, sentences } from './logql.ts';
import { eventGraph, eventLog, eventTable } from './panels.ts';
import { VARIABLES } from './variables.ts';

const LIMITED =
  'An event is the scene, not the count: a storm is limited in the kernel, and the dashboard of the agent shows by how much. Counts are in the metrics.';

export const events = dashboard({
  uid: UIDS.events,
  title: 'Events',
  description: 'Each anomaly with its scene, from Loki: who, with whom, why, in plain words.',
  variables: [
    VARIABLES.datasource(),
    VARIABLES.loki(),
    VARIABLES.cluster(),
    VARIABLES.node(),
    VARIABLES.namespace(),
    VARIABLES.podOfNamespace(),
    VARIABLES.type(),
    VARIABLES.search(),
  ],
  sections: [
    { title: 'How many', panels: [eventGraph('Events, by type', ratesByType(OF_CHOICE), { what: LIMITED })] },
    {
      title: 'Who, what, why',
      panels: [
        eventTable('Most frequent', counts(OF_CHOICE, 50), {
          what: 'Over the whole time shown. A click on a Pod opens it.',
        }),
      ],
    },
    {
      title: 'One by one',
      panels: [
        eventLog('Events', sentences(OF_CHOICE), { what: 'Open a line for its fields: addresses, process, stack.' }),
      ],
    },
  ],
});
