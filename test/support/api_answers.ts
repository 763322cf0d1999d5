import type { IncomingMessage, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';

/** Sends a Status object, which is the API server's response to every failed request. */
export function sendStatus(response: ServerResponse, code: number, message: string): void {
  sendJson(response, code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, message });
}

export function sendJson(response: ServerResponse, code: number, body: unknown, gzip = false): void {
  const text = JSON.stringify(body);
  response.writeHead(code, { 'Content-Type': 'application/json', ...(gzip ? { 'Content-Encoding': 'gzip' } : {}) });
  response.end(gzip ? gzipSync(text) : text);
}

export async function readJson(request: IncomingMessage): Promise<unknown> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return JSON.parse(text);
}

interface Named {
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

/** Sends the object with this name, or 404. */
export function sendNamed(
  response: ServerResponse,
  all: readonly Named[],
  namespace: string | undefined,
  name: string,
): void {
  const found = all.find(({ metadata }) => metadata.name === name && metadata.namespace === namespace);
  if (found === undefined) sendStatus(response, 404, `${name} not found`);
  else sendJson(response, 200, found);
}

/** Returns the response to `/apis`. @param groups versions of each group */
export function groupList(groups: Readonly<Record<string, readonly string[]>>): object {
  const versionsOf = (name: string, versions: readonly string[]) =>
    versions.map((version) => ({ groupVersion: `${name}/${version}`, version }));
  return {
    kind: 'APIGroupList',
    apiVersion: 'v1',
    groups: Object.entries(groups).map(([name, versions]) => ({ name, versions: versionsOf(name, versions) })),
  };
}
