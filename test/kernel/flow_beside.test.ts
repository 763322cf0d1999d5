import { afterAll, beforeAll, describe, it } from 'vitest';
import { type BesideContext, besideChecks, openBeside } from '../support/beside.ts';
import { HostPair } from '../support/hosts.ts';

const resources = new AsyncDisposableStack();
let context: BesideContext;

beforeAll(async () => {
  context = await openBeside(resources.use(await HostPair.create()), resources);
});

afterAll(() => resources.disposeAsync());

describe('flows beside the programs of others', () => {
  it.each(Object.entries(besideChecks()))('%s', (_, check) => check(context));
});
