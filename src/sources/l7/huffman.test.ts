import { equal } from 'node:assert/strict';
import * as fc from 'fast-check';
import { it } from 'vitest';
import { decodeHuffman } from './huffman.ts';

it('decodes the examples of RFC 7541, appendix C', () => {
  const examples = {
    f1e3c2e5f23a6ba0ab90f4ff: 'www.example.com',
    a8eb10649cbf: 'no-cache',
    '25a849e95ba97d7f': 'custom-key',
    '9d29ad171863c78f0b97c8e9ae82ae43d3': 'https://www.example.com',
    '94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007':
      'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
  };
  for (const [bytes, text] of Object.entries(examples)) equal(decodeHuffman(Buffer.from(bytes, 'hex')), text);
  equal(decodeHuffman(new Uint8Array()), '');
});

it('refuses what is malformed, and never fails', () => {
  // The end of a string, padding of more than seven bits, and padding with a bit that is not set.
  for (const bytes of ['ffffffff', '1fff', '18']) equal(decodeHuffman(Buffer.from(bytes, 'hex')), undefined, bytes);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => void decodeHuffman(bytes)));
});
