import type { ClientRequest } from 'node:http';

/** Most interim answers of a server that is still working. Without a bound, a server could send them forever. */
const INTERIM_MAX = 16;

/** Ends a request that is answered by one interim answer after the other (RFC 9110, 15.2). */
export function boundInterim(call: ClientRequest): void {
  let answers = 0;
  call.on('information', () => {
    answers++;
    if (answers > INTERIM_MAX) call.destroy(new Error(`the server sent ${answers} interim answers and no final one`));
  });
}
