import { FAILURE } from '#api/errors.ts';
import { type EventRecord, eventOf } from '#api/events.ts';
import { routeOf } from '#api/routes.ts';
import type { EventDescriptor } from '#probe/event.ts';
import { PROBES } from '#probes/index.ts';

/** Event schemas by type, built from the fields that the probes declare. */
const EVENTS = new Map(
  PROBES.flatMap(({ events }) =>
    Object.entries<EventDescriptor>(events).map(([type, { fields }]) => [type, eventOf(fields)] as const),
  ),
);

interface Schema {
  safeParse(value: unknown): { readonly error?: { readonly message: string } | undefined };
}

function hold(schema: Schema | undefined, value: unknown, what: string): void {
  const fault = schema === undefined ? 'is not in the contract' : schema.safeParse(value).error?.message;
  if (fault !== undefined) throw new Error(`${what}: ${fault}\n${JSON.stringify(value).slice(0, 2_000)}`);
}

/**
 * Checks a response of the agent.
 * @throws if the response does not match the schema in `src/api`, or has unknown fields
 */
export function checkAnswer(path: string, status: number, body: unknown): void {
  hold(status === 200 ? routeOf(path)?.answer : FAILURE, body, `${path} ${status}`);
}

/** Parses an event and checks it. @throws if it does not match the schema of its type */
export function readEvent(json: string): EventRecord {
  const event = JSON.parse(json) as EventRecord;
  hold(EVENTS.get(event.type), event, `an event ${event.type}`);
  return event;
}
