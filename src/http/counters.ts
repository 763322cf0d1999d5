import type { Request, Response } from 'express';
import { COUNTERS_QUERY, type CountersReport } from '#api/counters.ts';
import type { CountersSelection } from '#kernel/counters.ts';
import { sendFailure } from './failure.ts';
import { isFailure, readQuery } from './query.ts';

/** Serves `/api/v1/counters`. @param ask sends the request to the kernel thread */
export async function serveCounters(
  ask: (selection: CountersSelection) => Promise<CountersReport>,
  request: Request,
  response: Response,
): Promise<void> {
  const query = readQuery(COUNTERS_QUERY, request);
  if (isFailure(query)) {
    sendFailure(response, 400, query.error);
    return;
  }
  const { namespace = '', pod = '' } = query;
  response.json((await ask({ namespace, pod })) satisfies CountersReport);
}
