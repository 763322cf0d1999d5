import type { Kind } from '#core/record_kinds.ts';
import type { StoredKind } from '#delivery/record.ts';
import { EVENT_KIND } from './event_kind.ts';
import { FLOW_KIND } from './flow_kind.ts';
import { INCIDENT_KIND } from './incident_kind.ts';
import { REQUEST_KIND } from './request_kind.ts';

const BY_NAME: Readonly<Record<Kind, StoredKind>> = {
  event: EVENT_KIND,
  flow: FLOW_KIND,
  incident: INCIDENT_KIND,
  request: REQUEST_KIND,
};

/** All record kinds. */
export const RECORD_KINDS: readonly StoredKind[] = Object.values(BY_NAME);
