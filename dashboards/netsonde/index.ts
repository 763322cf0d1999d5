import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { agent } from './agent.ts';
import { cluster } from './cluster.ts';
import { events } from './events.ts';
import { node } from './node.ts';
import { pod } from './pod.ts';

export const DASHBOARDS: readonly Dashboard[] = [cluster, pod, node, events, agent];
