/** Minimal ELF parser (man 5 elf) that returns one section of a 64-bit little-endian object file. */

const MAGIC = 0x464c457f;
const SECTION_TABLE_AT = 0x28;
const SECTION_BYTES_AT = 0x3a;
const SECTION_COUNT_AT = 0x3c;
const NAMES_INDEX_AT = 0x3e;

/** @throws if the file is not an ELF file, or has no section of this name */
export function elfSection(file: Uint8Array, name: string): Uint8Array {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < 64 || view.getUint32(0, true) !== MAGIC) throw new Error('ELF: not an object file');
  const table = Number(view.getBigUint64(SECTION_TABLE_AT, true));
  const entryBytes = view.getUint16(SECTION_BYTES_AT, true);
  const section = (index: number) => {
    const at = table + index * entryBytes;
    const start = Number(view.getBigUint64(at + 0x18, true));
    return {
      name: view.getUint32(at, true),
      bytes: file.subarray(start, start + Number(view.getBigUint64(at + 0x20, true))),
    };
  };
  const names = Buffer.from(section(view.getUint16(NAMES_INDEX_AT, true)).bytes);
  for (let index = 0; index < view.getUint16(SECTION_COUNT_AT, true); index++) {
    const candidate = section(index);
    if (names.toString('latin1', candidate.name, names.indexOf(0, candidate.name)) === name) return candidate.bytes;
  }
  throw new Error(`ELF: no section ${name}`);
}
