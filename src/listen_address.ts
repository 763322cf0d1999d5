export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

export const DEFAULT_LISTEN: ListenAddress = { host: '0.0.0.0', port: 9102 };

const PORT_MAX = 65_535;

/** Parses `HOST:PORT`, `[::]:PORT` or `:PORT`. @throws with what is wrong */
export function parseListenAddress(text: string): ListenAddress {
  const found = /^(?:\[(?<v6>[^\]]+)\]|(?<host>[^:]*)):(?<port>\d{1,5})$/.exec(text);
  const port = Number(found?.groups?.['port']);
  if (found === null || port > PORT_MAX) {
    throw new Error(`--listen ${text}: give HOST:PORT with a port of 0 to ${PORT_MAX}, like 0.0.0.0:9102 or [::]:9102`);
  }
  const host = found.groups?.['v6'] ?? found.groups?.['host'] ?? '';
  return { host: host === '' ? DEFAULT_LISTEN.host : host, port };
}
