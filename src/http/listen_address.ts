export interface ListenAddress {
  /**
   * Address to listen on. If undefined, the agent listens on all addresses, including IPv6 ones if the machine supports
   * IPv6.
   */
  readonly host: string | undefined;
  readonly port: number;
}

export const DEFAULT_LISTEN: ListenAddress = { host: undefined, port: 9102 };

const PORT_MAX = 65_535;

/** Parses `HOST:PORT`, `[::]:PORT` or `:PORT`. @throws if the text has another form */
export function parseListenAddress(text: string, option = '--listen'): ListenAddress {
  const found = /^(?:\[(?<v6>[^\]]+)\]|(?<host>[^:]*)):(?<port>\d{1,5})$/.exec(text);
  const port = Number(found?.groups?.['port']);
  if (found === null || port > PORT_MAX) {
    throw new Error(
      `${option} ${text}: give HOST:PORT with a port of 0 to ${PORT_MAX}, like :9102, 127.0.0.1:9102 or [::]:9102`,
    );
  }
  const host = found.groups?.['v6'] ?? found.groups?.['host'] ?? '';
  return { host: host === '' ? undefined : host, port };
}
