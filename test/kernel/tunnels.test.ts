import { beforeAll, expect, it } from 'vitest';
import type { CheckOutcome } from '../guest/check.ts';
import { tunnels } from '../guest/checks/tunnels.ts';

const outcomes = new Map<string, CheckOutcome>();

beforeAll(() => tunnels.run((outcome) => void outcomes.set(outcome.title, outcome)));

it.for(tunnels.titles)('%s', (title, { skip }) => {
  const outcome = outcomes.get(title);
  if (outcome?.lacks !== undefined) skip(outcome.lacks);
  expect(outcome).toEqual({ group: tunnels.name, title });
});
