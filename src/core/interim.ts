import type { ClientRequest } from 'node:http';

/** Maximum number of interim responses to a request. It is limited because a server could send them forever. */
const INTERIM_MAX = 16;

/** Aborts a request whose server sends too many interim (1xx) responses (RFC 9110, 15.2). */
export function boundInterim(call: ClientRequest): void {
  let answers = 0;
  call.on('information', () => {
    answers++;
    if (answers > INTERIM_MAX) call.destroy(new Error(`the server sent ${answers} interim responses and no final one`));
  });
}
