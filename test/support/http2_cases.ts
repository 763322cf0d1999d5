import type { Dialogue } from './dialogue.ts';
import {
  continued,
  FLAGS,
  frame,
  GET,
  headers,
  indexed,
  inserted,
  literal,
  message,
  OK,
  PREFACE,
  settings,
  TYPES,
  tableSize,
  u32,
} from './http2_bytes.ts';

export interface Http2Case {
  readonly title: string;
  readonly dialogue: Dialogue;
  /** Counts that both ends must show, by `METHOD CODE`, `METHOD none|reset|unknown`, `PATH CODE` of gRPC and `unknown: CAUSE`. */
  readonly counts: Readonly<Record<string, number>>;
}

type Turn = readonly ['client' | 'server', ...(readonly Buffer[])];

/** A connection in which both ends have sent their settings, and the client has sent nothing else. */
function after(...turns: readonly Turn[]): Dialogue {
  return [
    ['client', Buffer.concat([PREFACE, settings()])],
    ['server', settings()],
    ...turns.map(([end, ...frames]) => [end, Buffer.concat(frames)] as const),
  ];
}

/** Sends each byte in a segment of its own. @param from index of the first byte to which this applies */
function bytewise(dialogue: Dialogue, from = 0): Dialogue {
  return dialogue.flatMap(([end, bytes], turn) => {
    const whole = turn === 0 ? from : 0;
    const single = [...bytes.subarray(whole)].map((byte) => [end, Buffer.from([byte])] as const);
    return whole === 0 ? single : [[end, bytes.subarray(0, whole)] as const, ...single];
  });
}

/** Splits the frames of one end into segments, to which the other end does not reply. */
function segments(end: 'client' | 'server', bytes: Buffer, size: number): Turn[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) => [
    end,
    bytes.subarray(index * size, (index + 1) * size),
  ]);
}

const streams = (count: number) => Array.from({ length: count }, (_, index) => 2 * index + 1);
const repeat = (count: number, bytes: Buffer) => Buffer.concat(Array.from({ length: count }, () => bytes));

/** 2,600 of them as a value in the Huffman code. */
const AMPERSANDS = Buffer.concat([Buffer.from([0xff, 0xa9, 0x13]), Buffer.alloc(2_600, 0xf8)]);
const PATH = '/shop.Cart/Get';
const CALL = Buffer.concat([
  indexed(3),
  indexed(6),
  inserted(4, PATH),
  inserted(31, 'application/grpc'),
  literal('te', 'trailers'),
]);
const DATA = Buffer.from('\0\0\0\0\u0005hello');
const LONG = literal('cookie', 'c'.repeat(60_000));
const STATUS_404 = indexed(13);
const trailers = (stream: number, code: string) => message(stream, inserted('grpc-status', code));

const grpc = after(
  ['client', headers(1, CALL), frame(TYPES.data, FLAGS.endStream, 1, DATA)],
  ['server', headers(1, OK, literal(31, 'application/grpc')), frame(TYPES.data, 0, 1, DATA), trailers(1, '5')],
  // Both ends use the entries of the dynamic table.
  ['client', headers(3, indexed(3), indexed(63), indexed(62)), frame(TYPES.data, FLAGS.endStream, 3, DATA)],
  ['server', headers(3, OK), message(3, indexed(62))],
);
const CALLS = { 'POST 200': 2, [`${PATH} NOT_FOUND`]: 2 };

const HEADER_BLOCKS: readonly Http2Case[] = [
  { title: 'each byte in its own segment', dialogue: bytewise(grpc, PREFACE.length), counts: CALLS },
  { title: 'a preface that is cut', dialogue: bytewise(grpc, 5), counts: CALLS },
  {
    title: 'thousands of empty CONTINUATION frames',
    dialogue: after(
      [
        'client',
        frame(TYPES.headers, FLAGS.endStream, 1, GET),
        repeat(3_000, frame(TYPES.continuation, 0, 1)),
        frame(TYPES.continuation, FLAGS.endHeaders, 1, literal('a', 'b')),
      ],
      ['server', continued(1, FLAGS.endStream, Buffer.concat([OK, LONG]), 1)],
    ),
    counts: { 'GET 200': 1 },
  },
  {
    title: 'a header over more than twenty segments',
    dialogue: after(
      ...segments('client', continued(1, FLAGS.endStream, Buffer.concat([LONG, GET, LONG]), 16_384), 1_400),
      ...segments('server', continued(1, FLAGS.endStream, Buffer.concat([LONG, STATUS_404]), 16_384), 1_400),
    ),
    counts: { 'GET 404': 1 },
  },
  {
    title: 'a HEADERS frame and a DATA frame of more than 16 KiB',
    dialogue: after(
      ['client', message(1, LONG, GET)],
      ['server', headers(1, OK), frame(TYPES.data, 0, 1, Buffer.alloc(300_000)), message(1, literal('a', 'b'))],
      ['client', message(3, GET)],
      ['server', message(3, STATUS_404)],
    ),
    counts: { 'GET 200': 1, 'GET 404': 1 },
  },
  {
    title: 'a block of 10,000 references to an entry of 4,000 bytes',
    dialogue: after(
      ['client', message(1, GET, inserted('x-bomb', 'b'.repeat(4_000)), repeat(10_000, indexed(62)))],
      ['server', message(1, OK)],
    ),
    counts: { 'GET 200': 1 },
  },
  {
    title: 'a dynamic table that is emptied, and filled again',
    dialogue: after(
      ['client', message(1, GET), message(3, GET), message(5, GET), message(7, GET)],
      ['server', message(1, tableSize(0), inserted(8, '418'))],
      ['server', message(3, tableSize(4_096), inserted(8, '404'))],
      ['server', message(5, indexed(62)), message(7, inserted(8, '503'), indexed(63))],
    ),
    counts: { 'GET 418': 1, 'GET 404': 3 },
  },
  {
    title: 'entries that are larger than the dynamic table',
    dialogue: after(
      ['client', ...streams(5).map((stream) => message(stream, GET))],
      ['server', message(1, inserted('n'.repeat(3_000), 'v'), OK), message(3, inserted(62, 'v'.repeat(2_000)), OK)],
      ['server', message(5, inserted(8, '503')), message(7, inserted('l', 'v'.repeat(4_060)), inserted(8, '404'))],
      ['server', message(9, indexed(62))],
    ),
    counts: { 'GET 200': 2, 'GET 503': 1, 'GET 404': 2 },
  },
  {
    title: 'an entry of which only the encoded length shows whether it fits',
    dialogue: after(
      ['client', ...streams(3).map((stream) => message(stream, GET))],
      // In the Huffman code, `&` has 8 bits, and other characters have 5 to 30.
      ['server', message(1, inserted(8, '404'))],
      [
        'server',
        message(3, Buffer.concat([inserted('x', '').subarray(0, -1), AMPERSANDS]), OK),
        message(5, indexed(63)),
      ],
    ),
    counts: { 'GET 404': 2, 'GET 200': 1 },
  },
  {
    title: 'a reference to an older entry than are kept',
    dialogue: after(
      ['client', message(1, GET), message(3, GET), message(5, GET)],
      ['server', message(1, tableSize(65_536), inserted(8, '404'), repeat(150, inserted('a', 'b')))],
      ['server', message(3, indexed(62 + 150)), message(5, inserted(8, '503'))],
    ),
    counts: { 'GET 404': 1, 'GET 503': 1, 'GET unknown': 1, 'unknown: limit': 1 },
  },
  {
    title: 'a reference to an entry that never was',
    dialogue: after(['client', message(1, GET)], ['server', message(1, indexed(62 + 4_000))]),
    counts: { 'GET unknown': 1, 'unknown: unreadable': 1 },
  },
  {
    title: 'integers without end',
    dialogue: after(
      ['client', message(1, GET, Buffer.alloc(64, 0xff)), message(3, GET)],
      ['server', message(1, STATUS_404)],
    ),
    counts: { 'other unknown': 1, 'unknown: unreadable': 1 },
  },
];

const PRIORITY = u32(0x8000_0000);
const padded = (bytes: Buffer, padding: number) =>
  Buffer.concat([Buffer.from([padding]), bytes, Buffer.alloc(padding, 0x88)]);

const FRAMES: readonly Http2Case[] = [
  {
    title: 'padding and priorities',
    dialogue: after(
      [
        'client',
        frame(
          TYPES.headers,
          FLAGS.padded | FLAGS.priority | FLAGS.endHeaders,
          1,
          padded(Buffer.concat([PRIORITY, Buffer.from([9]), GET]), 255),
        ),
        frame(TYPES.data, FLAGS.padded | FLAGS.endStream, 1, padded(Buffer.alloc(0), 255)),
        frame(TYPES.priority, 0, 9, Buffer.concat([PRIORITY, Buffer.from([1])])),
      ],
      ['server', frame(TYPES.headers, FLAGS.padded | FLAGS.endHeaders | FLAGS.endStream, 1, padded(STATUS_404, 200))],
      // The padding is longer than the frame.
      ['client', frame(TYPES.headers, FLAGS.padded | FLAGS.endHeaders | FLAGS.endStream, 3, Buffer.from([200, 0x82]))],
    ),
    counts: { 'GET 404': 1 },
  },
  {
    title: 'streams that are reset before, in and after the response',
    dialogue: after(
      ['client', message(1, GET), message(3, GET), message(5, GET), headers(7, CALL), headers(9, CALL)],
      ['server', frame(TYPES.reset, 0, 1, u32(8)), headers(5, OK), headers(7, OK), message(5, literal('a', 'b'))],
      ['client', ...[3, 5, 7].map((stream) => frame(TYPES.reset, 0, stream, u32(8)))],
      ['server', frame(TYPES.reset, 0, 9, u32(7))],
    ),
    counts: { 'GET reset': 2, 'GET 200': 1, 'POST 200': 1, 'POST reset': 1, [`${PATH} reset`]: 2 },
  },
  {
    title: 'a GOAWAY while streams are open',
    dialogue: after(
      ['client', ...streams(4).map((stream) => message(stream, GET))],
      ['server', frame(TYPES.goaway, 0, 0, u32(0x7fff_ffff, 0))],
      ['server', frame(TYPES.goaway, 0, 0, u32(3, 0)), message(1, OK), headers(3, STATUS_404)],
      ['server', message(3, literal('a', 'b')), message(5, OK)],
    ),
    counts: { 'GET 200': 1, 'GET 404': 1, 'GET reset': 2 },
  },
  {
    title: 'calls of gRPC with trailers only',
    dialogue: after(
      ['client', message(1, CALL), message(3, CALL)],
      ['server', message(1, OK, literal(31, 'application/grpc+proto'), literal('grpc-status', '7'))],
      ['server', message(3, OK, literal(31, 'application/grpc'))],
    ),
    counts: { 'POST 200': 2, [`${PATH} PERMISSION_DENIED`]: 1, [`${PATH} none`]: 1 },
  },
  {
    title: 'interim responses',
    dialogue: after(
      ['client', message(1, GET)],
      ['server', headers(1, literal(8, '100')), headers(1, literal(8, '103')), message(1, literal(8, '201'))],
    ),
    counts: { 'GET 201': 1 },
  },
  {
    title: 'promised requests in several frames, and their responses',
    dialogue: after(
      ['client', message(1, GET)],
      [
        'server',
        continued(1, 0, Buffer.concat([u32(2), GET, inserted('a', 'b'), inserted(8, '404')]), 9, TYPES.promise),
        frame(TYPES.promise, FLAGS.padded | FLAGS.endHeaders, 1, padded(Buffer.concat([u32(4), GET]), 3)),
        message(2, literal(8, '503')),
        message(1, indexed(62)),
        message(4, OK),
      ],
    ),
    counts: { 'GET 404': 1 },
  },
  {
    title: 'frames of unknown types, and many of known ones',
    dialogue: after(
      [
        'client',
        frame(0xfa, 0xff, 1, Buffer.from('x'.repeat(1_000))),
        repeat(2_000, frame(TYPES.ping, 0, 0, Buffer.alloc(8))),
        message(1, GET),
        frame(10, 0, 0, message(3, GET)),
      ],
      ['server', repeat(2_000, settings()), frame(0x20, 9, 1, message(1, OK)), message(1, STATUS_404)],
    ),
    counts: { 'GET 404': 1 },
  },
  {
    title: 'more streams than are followed',
    dialogue: after(
      ['client', ...streams(300).map((stream) => message(stream, GET))],
      ['server', ...streams(300).map((stream) => message(stream, OK))],
    ),
    counts: { 'GET 200': 256, 'GET unknown': 44, 'unknown: limit': 44 },
  },
  {
    title: 'stream numbers that are used again, go back, or are not those of a client',
    dialogue: after(
      ['client', message(3, GET), message(3, GET), message(1, GET), message(0, GET), message(4, GET)],
      ['server', message(3, OK), message(3, STATUS_404), message(1, OK), message(4, OK), message(9, OK)],
    ),
    counts: { 'GET 200': 1 },
  },
  {
    title: 'bodies that contain requests, and lengths that do not fit',
    dialogue: after(
      [
        'client',
        headers(1, indexed(3), literal(28, '3')),
        frame(TYPES.data, FLAGS.endStream, 1, Buffer.concat([message(3, GET), Buffer.from('GET / HTTP/1.1\r\n\r\n')])),
      ],
      ['server', headers(1, OK, literal(28, '9')), frame(TYPES.data, FLAGS.endStream, 1, message(1, STATUS_404))],
      // The frame contains the beginning of the next one.
      ['client', Buffer.from([0, 0, 12]), message(3, GET).subarray(3), message(5, GET)],
    ),
    counts: { 'POST 200': 1 },
  },
  {
    title: 'other frames within a header block',
    dialogue: after(
      ['client', frame(TYPES.headers, FLAGS.endStream, 1, GET), message(3, GET)],
      ['server', message(1, OK)],
      ['client', message(5, GET)],
      ['server', message(5, STATUS_404)],
    ),
    counts: { 'GET 404': 1, 'other unknown': 2, 'unknown: unreadable': 2 },
  },
  {
    title: 'a header block that goes on in another stream',
    dialogue: after(
      ['client', message(1, GET), message(3, GET)],
      ['server', frame(TYPES.headers, FLAGS.endStream, 1, OK), frame(TYPES.continuation, FLAGS.endHeaders, 3)],
    ),
    counts: { 'GET unknown': 2, 'unknown: unreadable': 2 },
  },
  {
    title: 'a server that speaks HTTP/1',
    dialogue: [
      ['client', Buffer.concat([PREFACE, settings(), message(1, GET)])],
      ['server', Buffer.from('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n')],
    ],
    counts: { 'GET none': 1 },
  },
];

/** Dialogues of HTTP/2 that are odd, hostile or wrong, and what is to be counted of each. */
export const HTTP2_CASES: readonly Http2Case[] = [...HEADER_BLOCKS, ...FRAMES];

/** Calls of gRPC that are as they should be. */
export const PLAIN_CALLS: Http2Case = { title: 'plain calls', dialogue: grpc, counts: CALLS };
