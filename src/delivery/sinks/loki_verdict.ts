import type { Answer } from './http.ts';
import { judgeFailure, judgeStranger, notNow, type Verdict } from './verdict.ts';

// The patterns match messages from pkg/validation/validate.go, pkg/distributor, and pkg/ingester/instance.go and
// stream.go in github.com/grafana/loki.

const NO_CONTENT = 204;
/** Status while `block_ingestion_until` is set, unless `block_ingestion_status_code` sets another one. */
const BLOCKED_STATUS = 260;
const BLOCKED = /ingestion blocked/i;
const STREAM_LIMIT = /maximum active stream limit/i;
const STREAM_RATE = /per stream rate limit/i;
const NO_METADATA = /structured metadata, but this feature is disallowed/i;
/** Errors in labels, which are the same for all records of a stream. */
const LABELS =
  /label names; limit|label name too long|label value too long|duplicate label name|missing required labels/i;

/** Interprets the response to a push. */
export function judgeLoki(answer: Answer, url: URL): Verdict {
  const { status, text } = answer;
  if (status === NO_CONTENT) return { is: 'taken' };
  // Ingestion is blocked for the whole tenant, or by a policy for some streams only.
  if (status === BLOCKED_STATUS || (status !== 200 && BLOCKED.test(text))) {
    return { ...notNow(answer, 'limits_config.block_ingestion_until is set'), ofStream: true };
  }
  if (status >= 200 && status < 300) return judgeStranger(answer, 'Loki returns 204');
  if (status === 400 && NO_METADATA.test(text)) {
    return notNow(
      answer,
      'set structuredMetadata: false, or allow it in Loki (limits_config.allow_structured_metadata)',
    );
  }
  if (status === 400 && LABELS.test(text)) {
    return { ...notNow(answer, 'check labels and the limits of the tenant (limits_config)'), ofStream: true };
  }
  if (status === 429) return judgeLimit(answer);
  return judgeFailure(answer, url);
}

function judgeLimit(answer: Answer): Verdict {
  const { text } = answer;
  if (STREAM_LIMIT.test(text)) {
    return {
      ...notNow(answer, 'the tenant has too many streams (limits_config.max_global_streams_per_user)'),
      ofStream: true,
    };
  }
  if (STREAM_RATE.test(text)) {
    return { ...notNow(answer, 'limits_config.per_stream_rate_limit'), ofStream: true, isTooMuch: true };
  }
  return {
    ...notNow(answer, 'limit of the tenant: limits_config.ingestion_rate_mb and ingestion_burst_size_mb'),
    isTooMuch: true,
  };
}
