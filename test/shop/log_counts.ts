import type { Counts } from './apps/counts.ts';
import type { Engine } from './plan.ts';

/** Log format of nginx: one JSON object per request. */
export const NGINX_LOG = JSON.stringify({
  nginx: '$server_port',
  number: '$connection_requests',
  to: '$upstream_addr',
  upSent: '$upstream_bytes_sent',
  upReceived: '$upstream_bytes_received',
  received: '$request_length',
  sent: '$bytes_sent',
});

export type CountsByKey = Record<string, Counts>;

export const NO_COUNTS: Counts = { connections: 0, failed: 0, sentBytes: 0, receivedBytes: 0 };

export function addCounts(all: CountsByKey, key: string, more: Partial<Counts>): void {
  const before = all[key] ?? NO_COUNTS;
  all[key] = {
    connections: before.connections + (more.connections ?? 0),
    failed: before.failed + (more.failed ?? 0),
    sentBytes: before.sentBytes + (more.sentBytes ?? 0),
    receivedBytes: before.receivedBytes + (more.receivedBytes ?? 0),
  };
}

/** Totals of a server that does not report them itself. They are computed from the lines of its log. */
export class LogCounts {
  readonly clients: CountsByKey = {};
  readonly servers: CountsByKey = {};
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  hear(line: string): void {
    if (line.startsWith('{"nginx":')) this.#addRequest(JSON.parse(line) as Record<string, string>);
    // Redis writes this at the log level `verbose`, and PostgreSQL with `log_connections`.
    else if (this.#engine === 'redis' && / Accepted \d+(?:\.\d+){3}:\d+$/.test(line)) this.#accept('6379');
    else if (this.#engine === 'postgres' && / connection received: host=\d/.test(line)) this.#accept('5432');
  }

  /** Whether the log also contains the number of bytes that the server sent and received. */
  get hasBytes(): boolean {
    return this.#engine === 'nginx';
  }

  #accept(port: string): void {
    addCounts(this.servers, port, { connections: 1 });
  }

  #addRequest(found: Record<string, string>): void {
    const number = (key: string) => Number(found[key] ?? 0) || 0;
    addCounts(this.servers, found['nginx'] ?? '', {
      connections: found['number'] === '1' ? 1 : 0,
      sentBytes: number('sent'),
      receivedBytes: number('received'),
    });
    const { to = '' } = found;
    if (to === '') return;
    // If a connection attempt fails, nginx has sent no bytes.
    const isConnected = number('upSent') > 0;
    addCounts(this.clients, to, {
      connections: isConnected ? 1 : 0,
      failed: isConnected ? 0 : 1,
      sentBytes: number('upSent'),
      receivedBytes: number('upReceived'),
    });
  }
}
