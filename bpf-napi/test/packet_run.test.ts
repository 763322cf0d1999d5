import { describe, expect, it } from 'vitest';
import { netnsCookie, withNetns } from '../lib/index.ts';
import { TestNamespace } from './support/namespace.ts';
import { expectNothingLeft } from './support/nothing_left.ts';
import { loadObject, openObject } from './support/objects.ts';
import { countsOf, frame } from './support/packets.ts';

const EINVAL = 22;
const ENOSPC = 28;

expectNothingLeft();

/** Bytes that `lengthen` appends, in the order of the packet. */
const END = [0xef, 0xbe, 0xed, 0xfe];

describe('runPacket', () => {
  it('runs a tc program on the packet, and returns result, packet and duration', async () => {
    using object = await loadObject('packets', ['lengthen']);
    const { result, packet, nanoseconds } = object.runPacket('lengthen', frame(60, 5));
    expect(result).toBe(60);
    expect([...packet]).toEqual([...frame(60, 5), ...END]);
    expect(nanoseconds).toBeGreaterThan(0);
  });

  it('runs repeatedly, each time on the packet that the previous run left', async () => {
    using object = await loadObject('packets', ['lengthen']);
    const { result, packet } = object.runPacket('lengthen', frame(60), { repeat: 3 });
    expect(result).toBe(68);
    expect([...packet.subarray(60)]).toEqual([...END, ...END, ...END]);
  });

  it('gives a cgroup program the packet without its Ethernet header', async () => {
    using object = await loadObject('packets', ['count_egress']);
    const udp = frame(14 + 28, 0);
    udp.set([8, 0, 0x45], 12);
    udp[14 + 9] = 17;
    const { result, packet } = object.runPacket('count_egress', udp, { repeat: 4 });
    expect(result).toBe(1);
    expect(packet.subarray(14)).toEqual(udp.subarray(14));
    expect(countsOf(object).egress).toBe(4);
    udp[14 + 9] = 6;
    object.runPacket('count_egress', udp);
    expect(countsOf(object).egress).toBe(4);
  });

  it('runs in the network namespace of the thread', async (context) => {
    using object = await openObject('packets', ['cookie']);
    const failure = await object.load().catch((error: unknown) => error);
    if (failure !== undefined) context.skip('tc programs of this kernel cannot ask for the cookie (before 6.13)');
    using namespace = new TestNamespace();
    const inside = withNetns(namespace.path, () => {
      const { result } = object.runPacket('cookie', frame(60));
      return [result, Number(netnsCookie() & 0xffffffffn)];
    });
    expect(inside[0]).toBe(inside[1]);
    const { result } = object.runPacket('cookie', frame(60));
    expect(result).toBe(Number(netnsCookie() & 0xffffffffn));
    expect(result).not.toBe(inside[0]);
  });

  it('does not change the given packet', async () => {
    using object = await loadObject('packets', ['lengthen']);
    const given = frame(60);
    object.runPacket('lengthen', given);
    expect(given).toEqual(frame(60));
  });
});

describe('runPacket refuses', () => {
  it('a packet that is longer than the buffer, and accepts it with a larger buffer', async () => {
    using object = await loadObject('packets', ['lengthen']);
    expect(() => object.runPacket('lengthen', frame(60), { bytesMax: 63 })).toThrow(
      expect.objectContaining({
        code: 'BPF_RUN',
        errno: ENOSPC,
        subject: 'lengthen',
        message: expect.stringContaining('the resulting packet has 64 bytes but the buffer only 63'),
      }),
    );
    expect(object.runPacket('lengthen', frame(60), { bytesMax: 64 }).packet).toHaveLength(64);
  });

  it.each([0, 13, 5000])('a packet of %i bytes', async (bytes) => {
    using object = await loadObject('packets', ['lengthen']);
    expect(() => object.runPacket('lengthen', frame(bytes))).toThrow(
      expect.objectContaining({ code: 'BPF_RUN', errno: EINVAL, message: expect.stringMatching(`not ${bytes}\\)$`) }),
    );
  });

  it.each([
    { repeat: 0 },
    { repeat: 1.5 },
    { repeat: 1_000_001 },
    { bytesMax: 0 },
    { bytesMax: Number.NaN },
    { bytesMax: 2 ** 20 + 1 },
  ])('%o', async (options) => {
    using object = await loadObject('packets', ['lengthen']);
    const [field = ''] = Object.keys(options);
    expect(() => object.runPacket('lengthen', frame(60), options)).toThrow(
      expect.objectContaining({ code: 'BPF_RUN', errno: EINVAL, message: expect.stringContaining(`${field} must be`) }),
    );
  });

  it('a program that does not process packets, has a tracing hook, is not loaded, or does not exist', async () => {
    using object = await loadObject('packets', ['no_packet']);
    using hooks = await loadObject('hooks', ['count_exec']);
    const failure = (errno: number) => expect.objectContaining({ code: 'BPF_RUN', errno });
    expect(() => object.runPacket('no_packet', frame(60))).toThrow(failure(EINVAL));
    expect(() => hooks.runPacket('count_exec', frame(60))).toThrow(failure(EINVAL));
    expect(() => object.runPacket('lengthen', frame(60))).toThrow(expect.objectContaining({ code: 'BPF_RUN' }));
    expect(() => object.runPacket('nobody', frame(60))).toThrow(expect.objectContaining({ code: 'BPF_RUN', errno: 2 }));
  });
});
