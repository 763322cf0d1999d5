import { once } from 'node:events';
import { connect } from 'node:net';
import type { ToolReceipt } from '#api/tool_use.ts';

/** Sends text to the socket on which commands announce themselves, and returns the response. */
export async function sendToTools(name: string, text: string): Promise<ToolReceipt> {
  const socket = connect({ path: `\0${name}` });
  const parts: Buffer[] = [];
  socket.on('data', (part) => parts.push(part));
  // The agent may close the connection while it still receives data.
  socket.on('error', () => undefined);
  socket.write(text);
  await once(socket, 'close');
  return JSON.parse(Buffer.concat(parts).toString()) as ToolReceipt;
}

/** Python program that sends a line to that socket as another user, and prints the response. */
export function toolClient(name: string, line: string, uid: number): string {
  return `
import os, socket
os.setuid(${uid})
client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
client.connect(b'\\0' + ${JSON.stringify(name)}.encode())
try: client.send(${JSON.stringify(line)}.encode())
except BrokenPipeError: pass
print(client.recv(4096).decode())
`;
}
