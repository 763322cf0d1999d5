import { describe, expect, it } from 'vitest';
import { type OwnedPod, workloadOf } from './workload.ts';

const CREATED_MS = Date.parse('2026-11-21T12:00:30Z');
const MINUTE = Math.floor(CREATED_MS / 60_000);

function pod(kind: string | undefined, name: string, labels: Record<string, string> = {}): OwnedPod {
  return {
    name: 'web-6d4cf56db6-x7k2p',
    labels,
    owner: kind === undefined ? undefined : { kind, name },
    createdMs: CREATED_MS,
  };
}

const HASH = { 'pod-template-hash': '6d4cf56db6' };

describe('the workload of a Pod', () => {
  it.each([
    [
      'a Deployment, by the hash in the name of its ReplicaSet',
      pod('ReplicaSet', 'web-6d4cf56db6', HASH),
      'Deployment',
      'web',
    ],
    ['a ReplicaSet that no Deployment made', pod('ReplicaSet', 'web-6d4cf56db6'), 'ReplicaSet', 'web-6d4cf56db6'],
    ['a ReplicaSet with another hash', pod('ReplicaSet', 'web-77777', HASH), 'ReplicaSet', 'web-77777'],
    ['a ReplicaSet that is named like the hash', pod('ReplicaSet', '-6d4cf56db6', HASH), 'ReplicaSet', '-6d4cf56db6'],
    ['a CronJob, by the minute in the name of its Job', pod('Job', `backup-${MINUTE}`), 'CronJob', 'backup'],
    ['a CronJob, of two days ago', pod('Job', `backup-${MINUTE - 2 * 24 * 60}`), 'CronJob', 'backup'],
    ['a Job whose number is not a minute of these days', pod('Job', 'load-12345678'), 'Job', 'load-12345678'],
    ['a Job whose number is a minute of tomorrow', pod('Job', `load-${MINUTE + 1440}`), 'Job', `load-${MINUTE + 1440}`],
    ['a Job', pod('Job', 'migrate'), 'Job', 'migrate'],
    ['a StatefulSet', pod('StatefulSet', 'db'), 'StatefulSet', 'db'],
    ['a custom resource', pod('Cluster', 'pg'), 'Cluster', 'pg'],
    ['a static Pod', pod('Node', 'node-1'), 'Pod', 'web-6d4cf56db6-x7k2p'],
    ['a Pod of its own', pod(undefined, ''), 'Pod', 'web-6d4cf56db6-x7k2p'],
  ])('%s', (_, given, kind, name) => {
    expect(workloadOf(given)).toEqual({ kind, name });
  });
});
