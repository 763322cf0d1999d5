import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { agent } from './agent.ts';
import { cluster } from './cluster.ts';
import { dnsDashboard } from './dns.ts';
import { events } from './events.ts';
import { flows } from './flows.ts';
import { gateway } from './gateway.ts';
import { map } from './map.ts';
import { node } from './node.ts';
import { pod } from './pod.ts';
import { requestsDashboard } from './requests.ts';

export const DASHBOARDS: readonly Dashboard[] = [
  cluster,
  map,
  pod,
  node,
  flows,
  requestsDashboard,
  dnsDashboard,
  gateway,
  events,
  agent,
];
