import { http } from '#probes/http/http.ts';
import { graph, HEIGHT, series, table, WIDTH } from './panels.ts';
import { as, BY_ENTITY, type Expression, promql, quantile, rate, top } from './promql.ts';
import { FAILED_REQUESTS, SLOW_REQUESTS } from './request_risks.ts';
import { OF_POD } from './views.ts';

/** Panels of the calls of gRPC, by method and code. */

const { calls, callDurations, unseen } = http.metrics;

const MOST = 10;
const ROWS = 20;
const NO_CALL = 'No call of gRPC was read.';
const BY_METHOD = [...BY_ENTITY, 'role', 'method'] as const;

/** Codes and ends of calls that are errors of the server, as in the requests by peer. */
const GRPC_FAILURES = [
  'UNKNOWN',
  'DEADLINE_EXCEEDED',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'none',
  'reset',
] as const;

function failedCalls(): Expression {
  return promql`(${rate(calls, OF_POD, BY_METHOD, { code: GRPC_FAILURES })} or 0 * ${rate(calls, OF_POD, BY_METHOD)})`;
}

const failedShare = () => as('percentunit', promql`${failedCalls()} / (${rate(calls, OF_POD, BY_METHOD)} > 0)`);

export const grpcPanels = [
  table(
    'Methods of gRPC',
    [
      { title: 'Failed', expression: top(ROWS, failedCalls()), limits: [0.05, 1] },
      {
        title: 'Share',
        expression: top(ROWS, failedShare()),
        limits: [FAILED_REQUESTS.notice, FAILED_REQUESTS.alert],
      },
      { title: 'Calls', expression: top(ROWS, rate(calls, OF_POD, BY_METHOD)) },
    ],
    { what: `Failed: ${GRPC_FAILURES.join(', ')}.`, empty: NO_CALL, height: HEIGHT.graph },
    BY_METHOD,
  ),
  graph('Calls, by code', [series(rate(calls, OF_POD, ['role', 'code']), '{{role}} {{code}}')], { empty: NO_CALL }),
  graph(
    'Calls that are not OK, by Pod and method',
    [series(top(MOST, notOk()), '{{namespace}}/{{pod}} {{role}} {{method}} {{code}}')],
    { empty: 'Every call was OK.' },
  ),
  graph(
    'Time of calls',
    [
      series(quantile(0.99, callDurations, OF_POD, ['role']), '{{role}} 99 %'),
      series(quantile(0.5, callDurations, OF_POD, ['role']), '{{role}} 50 %'),
    ],
    { empty: NO_CALL, limits: [SLOW_REQUESTS.notice, SLOW_REQUESTS.alert] },
  ),
  graph('Codes that were not seen, by cause', [series(rate(unseen, OF_POD, ['role', 'cause']), '{{role}} {{cause}}')], {
    width: WIDTH.whole,
    empty: 'Every code was seen.',
  }),
];

function notOk(): Expression {
  const view = { ...OF_POD, matchers: [...OF_POD.matchers, 'code!="OK"'] };
  return rate(calls, view, [...BY_METHOD, 'code']);
}
