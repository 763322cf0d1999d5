import fc from 'fast-check';
import { expect, it } from 'vitest';
import { deviceName } from './device_name.ts';

/** Generates all bytes that the kernel accepts in a device name. */
const bytes = fc.integer({ min: 1, max: 255 }).filter((byte) => byte !== 0x2f && !/\s/.test(String.fromCharCode(byte)));
const names = fc
  .uint8Array({ minLength: 1, maxLength: 15 })
  .chain(({ length }) =>
    fc.array(fc.oneof(bytes, fc.constantFrom(0xff, 0xfe, 0xc3, 0xa9, 0x5c)), { minLength: length, maxLength: length }),
  );

it('is the name itself if the name is UTF-8', () => {
  expect(deviceName(Buffer.from('eth0'))).toBe('eth0');
  expect(deviceName(Buffer.from('çiğ-ü'))).toBe('çiğ-ü');
});

it('shows the bytes of a name that is not UTF-8', () => {
  expect(deviceName(Uint8Array.of(0x65, 0xff, 0x30))).toBe('e/ff0');
  expect(deviceName(Uint8Array.of(0x65, 0xfe, 0x30))).toBe('e/fe0');
});

it('never gives two devices the same name', () => {
  fc.assert(
    fc.property(names, names, (one, other) => {
      fc.pre(one.join() !== other.join());
      expect(deviceName(Uint8Array.from(one))).not.toBe(deviceName(Uint8Array.from(other)));
    }),
    { numRuns: 2000 },
  );
});
