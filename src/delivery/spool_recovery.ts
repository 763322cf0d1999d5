import { FileSystemHangs } from '#files/gate.ts';
import type { Source } from './record.ts';
import type { SpoolFiles } from './spool_files.ts';
import { sourceOf } from './spool_lines.ts';
import { type KnownSources, Segment } from './spool_segments.ts';

export interface Recovered {
  readonly segments: Segment[];
  /** Greater than every number in the folder. */
  readonly nextId: number;
}

/**
 * Reads what an earlier run left behind.
 * @param size limit of the spool's size in bytes: no file is read beyond it, since bytes behind it are not ours or do
 * not fit
 * @param warn called for a file that is not ours, which stays as it is
 * @throws where the folder cannot be read, or its file system hangs
 */
export async function recover(
  files: SpoolFiles,
  known: KnownSources,
  size: number,
  warn: (message: string) => void,
): Promise<Recovered> {
  const { ids, position } = await files.list();
  // Delivered files are removed before the position advances: a position with files before it would not be recognised
  // as ours.
  const isOurs = ids.every((id) => id >= position.id);
  const segments: Segment[] = [];
  for (const id of ids) {
    try {
      const start = isOurs && id === position.id ? position.offset : 0;
      const { segment, cutBytes } = await recoverFile(files, id, start, known, size);
      segments.push(segment);
      if (segment.bytes + cutBytes > start + size)
        warn(
          `a part of the spool is lost: its file ${id} was longer than the spool may be, ${cutBytes} bytes are not read`,
        );
    } catch (error) {
      if (error instanceof FileSystemHangs) throw error;
      warn(`a part of the spool is left as it is: ${(error as Error).message}`);
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
  // The position is in the middle of a line, or behind the end: somebody else wrote it, or the file.
  if (bytes < start) return recoverFile(files, id, 0, known, size);
  const cutBytes = await files.cut(id, bytes);
  const segment = new Segment(id, bytes, start);
  for (const source of sources) segment.add(source);
  return { segment, cutBytes };
}
