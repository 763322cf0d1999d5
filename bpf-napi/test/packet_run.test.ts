import { describe, expect, it } from 'vitest';
import { netnsCookie, withNetns } from '../lib/index.ts';
import { TestNamespace } from './support/namespace.ts';
import { expectNothingLeft } from './support/nothing_left.ts';
import { loadObject, openObject } from './support/objects.ts';
import { countsOf, frame } from './support/packets.ts';

const EINVAL = 22;
const ENOSPC = 28;

expectNothingLeft();

/** As `lengthen` appends it, from the lowest byte on. */
const END = [0xef, 0xbe, 0xed, 0xfe];

describe('runPacket', () => {
  it('gives a tc program the packet, and gives back result, packet and time', async () => {
    using object = await loadObject('packets', ['lengthen']);
    const { result, packet, nanoseconds } = object.runPacket('lengthen', frame(60, 5));
    expect(result).toBe(60);
    expect([...packet]).toEqual([...frame(60, 5), ...END]);
    expect(nanoseconds).toBeGreaterThan(0);
  });

  it('runs as often as asked, on the packet as the run before left it', async () => {
    using object = await loadObject('packets', ['lengthen']);
    const { result, packet } = object.runPacket('lengthen', frame(60), { repeat: 3 });
    expect(result).toBe(68);
    expect([...packet.subarray(60)]).toEqual([...END, ...END, ...END]);
  });

  it('gives a program of a cgroup what follows the Ethernet header', async () => {
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

  it('runs in the network namespace that the thread is in', async (context) => {
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

  it('leaves the packet that it was given as it is', async () => {
    using object = await loadObject('packets', ['lengthen']);
    const given = frame(60);
    object.runPacket('lengthen', given);
    expect(given).toEqual(frame(60));
  });
});

describe('runPacket refuses', () => {
  it('a packet that is longer than there is room for, and takes it with room', async () => {
    using object = await loadObject('packets', ['lengthen']);
    expect(() => object.runPacket('lengthen', frame(60), { bytesMax: 63 })).toThrow(
      expect.objectContaining({
        code: 'BPF_RUN',
        errno: ENOSPC,
        subject: 'lengthen',
        message: expect.stringContaining('a packet of 64 bytes, there is room for 63'),
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
      expect.objectContaining({ code: 'BPF_RUN', errno: EINVAL, message: expect.stringContaining(`${field} is`) }),
    );
  });

  it('a program that gets no packets, also of a tracing hook, that is not loaded, that is not there', async () => {
    using object = await loadObject('packets', ['no_packet']);
    using hooks = await loadObject('hooks', ['count_exec']);
    const failure = (errno: number) => expect.objectContaining({ code: 'BPF_RUN', errno });
    expect(() => object.runPacket('no_packet', frame(60))).toThrow(failure(EINVAL));
    expect(() => hooks.runPacket('count_exec', frame(60))).toThrow(failure(EINVAL));
    expect(() => object.runPacket('lengthen', frame(60))).toThrow(expect.objectContaining({ code: 'BPF_RUN' }));
    expect(() => object.runPacket('nobody', frame(60))).toThrow(expect.objectContaining({ code: 'BPF_RUN', errno: 2 }));
  });
});
