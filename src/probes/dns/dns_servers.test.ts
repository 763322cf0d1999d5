import { expect, it } from 'vitest';
import { asNetnsId, UNLISTED } from '#core/netns.ts';
import { addSilent, forgetSilent, SILENT_SERVERS } from './dns_servers.ts';

const [POD, OTHER] = [2, 3].map(asNetnsId) as [ReturnType<typeof asNetnsId>, ReturnType<typeof asNetnsId>];

it('adds up queries by Pod and server', () => {
  const totals = SILENT_SERVERS.initial();
  addSilent(totals, POD, '10.0.0.1', 2);
  addSilent(totals, POD, '10.0.0.1', 3);
  addSilent(totals, OTHER, '10.0.0.1', 1);
  expect(Object.fromEntries(totals.get(POD) ?? [])).toEqual({ '10.0.0.1': 5 });
  expect(Object.fromEntries(totals.get(OTHER) ?? [])).toEqual({ '10.0.0.1': 1 });
});

it('remembers so many servers, and loses no query to others', () => {
  const totals = SILENT_SERVERS.initial();
  for (let host = 0; host < 300; host++) addSilent(totals, POD, `10.0.${host >> 8}.${host & 255}`, 1);
  const ofPod = totals.get(POD) ?? new Map();
  expect(ofPod.size).toBe(65);
  expect(ofPod.get('other')).toBe(300 - 64);
});

it('forgets Pods that are gone, but never what belongs to nobody', () => {
  const totals = SILENT_SERVERS.initial();
  for (const subject of [POD, OTHER, UNLISTED]) addSilent(totals, subject, '10.0.0.1', 1);
  forgetSilent(totals, (subject) => subject !== OTHER);
  expect([...totals.keys()]).toEqual([OTHER, UNLISTED]);
});
