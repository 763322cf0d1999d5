import { dashboard } from './dashboard.ts';
import { UIDS } from './links.ts';
import { counts, OF_CHOICE, ratesByType, sentences } from './logql.ts';
import { eventGraph, eventLog, eventTable } from './panels.ts';
import { VARIABLES } from './variables.ts';

const LIMITED =
  'Events show the scene, not the count: the kernel limits a storm, and the dashboard of the agent shows by how much. Counts are in the metrics.';

export const events = dashboard({
  uid: UIDS.events,
  title: 'Events',
  description: 'Each anomaly with its scene, from Loki: both ends and the reason, in plain words.',
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
    { title: 'Rate', panels: [eventGraph('Events, by type', ratesByType(OF_CHOICE), { what: LIMITED })] },
    {
      title: 'By Pod and reason',
      panels: [
        eventTable('Most frequent', counts(OF_CHOICE, 50), {
          what: 'Over the whole time shown. A click on a Pod opens it.',
        }),
      ],
    },
    {
      title: 'All events',
      panels: [
        eventLog('Events', sentences(OF_CHOICE), { what: 'Open a line for its fields: addresses, process, stack.' }),
      ],
    },
  ],
});
