/** Reads pcapng files for tests (draft-ietf-opsawg-pcapng). Independent of the code that writes them. */

export interface PcapngOption {
  readonly code: number;
  readonly value: Buffer;
}

export interface PcapngInterface {
  readonly linkType: number;
  readonly snap: number;
  readonly options: readonly PcapngOption[];
}

export interface PcapngPacket {
  readonly interface: number;
  readonly timeNs: bigint;
  /** Original length, including the link-layer header. */
  readonly length: number;
  readonly bytes: Buffer;
  readonly comment: string | undefined;
}

export interface PcapngStatistics {
  readonly interface: number;
  readonly received: number | undefined;
  readonly dropped: number | undefined;
  readonly delivered: number | undefined;
}

export interface PcapngFile {
  readonly section: readonly PcapngOption[];
  readonly interfaces: readonly PcapngInterface[];
  readonly packets: readonly PcapngPacket[];
  readonly statistics: readonly PcapngStatistics[];
}

const BYTE_ORDER = 0x1a2b3c4d;

/** @throws if a block is malformed or unknown, or refers to an interface that was not described before it */
export function readPcapng(file: Buffer): PcapngFile {
  const read = {
    section: [] as PcapngOption[],
    interfaces: [] as PcapngInterface[],
    packets: [] as PcapngPacket[],
    statistics: [] as PcapngStatistics[],
  };
  for (let at = 0; at < file.length; ) {
    const total = file.readUInt32LE(at + 4);
    if (total % 4 !== 0 || total < 12 || file.readUInt32LE(at + total - 4) !== total) {
      throw new Error(`malformed length ${total} at ${at}`);
    }
    readBlock(file.readUInt32LE(at), file.subarray(at + 8, at + total - 4), read);
    at += total;
  }
  return read;
}

type Growing = { -readonly [Key in keyof PcapngFile]: PcapngFile[Key][number][] };

function readBlock(type: number, body: Buffer, { section, interfaces, packets, statistics }: Growing): void {
  const known = (number: number) => {
    if (number >= interfaces.length) throw new Error(`no interface ${number}`);
    return number;
  };
  const time = (at: number) => (BigInt(body.readUInt32LE(at)) << 32n) | BigInt(body.readUInt32LE(at + 4));
  switch (type) {
    case 0x0a0d0d0a:
      if (body.readUInt32LE(0) !== BYTE_ORDER || body.readBigInt64LE(8) !== -1n) throw new Error('malformed section');
      section.push(...optionsIn(body.subarray(16)));
      return;
    case 1:
      interfaces.push({
        linkType: body.readUInt16LE(0),
        snap: body.readUInt32LE(4),
        options: optionsIn(body.subarray(8)),
      });
      return;
    case 6: {
      const captured = body.readUInt32LE(12);
      const options = optionsIn(body.subarray(20 + ((captured + 3) & ~3)));
      packets.push({
        interface: known(body.readUInt32LE(0)),
        timeNs: time(4),
        length: body.readUInt32LE(16),
        bytes: body.subarray(20, 20 + captured),
        comment: textOf(options, 1),
      });
      return;
    }
    case 5: {
      const options = optionsIn(body.subarray(12));
      const [received, dropped, delivered] = [4, 5, 8].map((code) => countOf(options, code));
      statistics.push({ interface: known(body.readUInt32LE(0)), received, dropped, delivered });
      return;
    }
    default:
      throw new Error(`unknown block type ${type}`);
  }
}

function optionsIn(bytes: Buffer): PcapngOption[] {
  const options: PcapngOption[] = [];
  for (let at = 0; at + 4 <= bytes.length; ) {
    const code = bytes.readUInt16LE(at);
    const length = bytes.readUInt16LE(at + 2);
    if (code === 0) return options;
    options.push({ code, value: bytes.subarray(at + 4, at + 4 + length) });
    at += 4 + ((length + 3) & ~3);
  }
  if (bytes.length > 0) throw new Error('the options do not end');
  return options;
}

export function textOf(options: readonly PcapngOption[], code: number): string | undefined {
  return options.find((option) => option.code === code)?.value.toString();
}

function countOf(options: readonly PcapngOption[], code: number): number | undefined {
  const value = options.find((option) => option.code === code)?.value;
  return value === undefined ? undefined : Number(value.readBigUInt64LE());
}
