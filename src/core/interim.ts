import type { ClientRequest } from 'node:http';

/** Of a server that is at work. One that sends them without end keeps us at it. */
const INTERIM_MAX = 16;

/** Ends a request that is answered by one interim answer after the other (RFC 9110, 15.2). */
export function boundInterim(call: ClientRequest): void {
  let answers = 0;
  call.on('information', () => {
    answers++;
    if (answers > INTERIM_MAX) call.destroy(new Error(`it sent ${answers} interim answers, and no final one`));
  });
}
