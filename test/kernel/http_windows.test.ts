import { expect, it } from 'vitest';
import { http } from '#probes/http/http.ts';
import { type Dialogue, Speakers } from '../support/dialogue.ts';
import { HostPair } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { sumsOf } from '../support/sample_sums.ts';

const PORT = 8_061;
/** Bytes of the windows in which headers are read. */
const WINDOW = 64;

const PADDINGS = Array.from({ length: WINDOW }, (_, bytes) => bytes);

/** Returns headers of which only the last one matters, at all positions in a window, and a body that is a message. */
function message(firstLine: string, padding: number, body: string): string {
  const short = `${firstLine}\r\nA: ${'a'.repeat(padding)}\r\nB:\r\nC: 1\r\n`;
  return padding % 2 === 0
    ? `${short}content-length: ${body.length}\r\nD:\r\n\r\n${body}`
    : `${short}Transfer-Encoding: chunked\r\nD:\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
}

const PIPELINED: Dialogue = [
  [
    'client',
    Buffer.from(PADDINGS.map((bytes) => message('POST / HTTP/1.1', bytes, 'GET / HTTP/1.1\r\n\r\n')).join('')),
  ],
  [
    'server',
    Buffer.from(
      PADDINGS.map((bytes) =>
        message('HTTP/1.1 201 Created', bytes, 'HTTP/1.1 500 Error\r\nContent-Length: 0\r\n\r\n'),
      ).join(''),
    ),
  ],
];

it('finds the length of a body at every position of a window behind headers that do not matter', async () => {
  await using stack = new AsyncDisposableStack();
  const { a, b, addressB } = stack.use(await HostPair.create());
  const agent = stack.use(await TestKernel.open(only({ http: { enabled: true, events: false } }, { detail: 'full' })));
  const speakers = stack.use(await Speakers.start(a.netns, b.netns, addressB.ipv4, PORT));
  await speakers.play(PIPELINED);
  const { responses } = http.metrics;
  await eventually(async () => {
    const page = await agent.page();
    for (const [{ netns }, role] of [
      [a, 'client'],
      [b, 'server'],
    ] as const) {
      const counted = sumsOf(page, responses.name, { pod: netns.name, role }, ['method', 'code']);
      expect(counted, role).toEqual({ 'POST 201': PADDINGS.length });
    }
  });
});
