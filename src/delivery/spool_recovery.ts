import { FileSystemHangs } from '#files/gate.ts';
import type { Source } from './record.ts';
import type { SpoolFiles } from './spool_files.ts';
import { sourceOf } from './spool_lines.ts';
import { type KnownSources, Segment } from './spool_segments.ts';

export interface Recovered {
  readonly segments: Segment[];
  /** First unused file number, which is greater than all file numbers in the directory. */
  readonly nextId: number;
}

/**
 * Reads the files of an earlier run.
 * @param size maximum size of the spool in bytes, which is also the maximum number of bytes to read from each file
 * @param warn called for each file that exceeds `size` or cannot be recovered
 * @throws if the directory cannot be read, or its file system hangs
 */
export async function recover(
  files: SpoolFiles,
  known: KnownSources,
  size: number,
  warn: (message: string) => void,
): Promise<Recovered> {
  const { ids, position } = await files.list();
  // Delivered files are removed before the position is saved, so a position beyond the first file does not belong to
  // this spool.
  const isOurs = ids.every((id) => id >= position.id);
  const segments: Segment[] = [];
  for (const id of ids) {
    try {
      const start = isOurs && id === position.id ? position.offset : 0;
      const { segment, cutBytes } = await recoverFile(files, id, start, known, size);
      segments.push(segment);
      if (segment.bytes + cutBytes > start + size)
        warn(`a part of the spool is lost: file ${id} exceeds the size limit, ${cutBytes} bytes were removed`);
    } catch (error) {
      if (error instanceof FileSystemHangs) throw error;
      warn(`a part of the spool is ignored: ${(error as Error).message}`);
    }
  }
  return { segments, nextId: Math.max(isOurs ? position.id : 0, ids.at(-1) ?? 0) + 1 };
}

async function recoverFile(
  files: SpoolFiles,
  id: number,
  start: number,
  known: KnownSources,
  size: number,
): Promise<{ segment: Segment; cutBytes: number }> {
  const sources: Source[] = [];
  const bytes = await files.scan(id, start, size, ({ text }) => sources.push(known.bound(sourceOf(text))));
  // The position is within a line or after the end of the file, so it does not belong to this file.
  if (bytes < start) return recoverFile(files, id, 0, known, size);
  const cutBytes = await files.cut(id, bytes);
  const segment = new Segment(id, bytes, start);
  for (const source of sources) segment.add(source);
  return { segment, cutBytes };
}
