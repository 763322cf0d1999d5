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
 * What an earlier run left behind.
 * @param warn told of what is no file of ours: it stays as it is
 * @throws where the folder cannot be read, or its file system hangs
 */
export async function recover(
  files: SpoolFiles,
  known: KnownSources,
  warn: (message: string) => void,
): Promise<Recovered> {
  const { ids, position } = await files.list();
  // What is through is removed before the position goes on: with files before it, it is not ours.
  const isOurs = ids.every((id) => id >= position.id);
  const segments: Segment[] = [];
  for (const id of ids) {
    try {
      segments.push(await recoverFile(files, id, isOurs && id === position.id ? position.offset : 0, known));
    } catch (error) {
      if (error instanceof FileSystemHangs) throw error;
      warn(`a part of the spool is left as it is: ${(error as Error).message}`);
    }
  }
  return { segments, nextId: Math.max(isOurs ? position.id : 0, ids.at(-1) ?? 0) + 1 };
}

async function recoverFile(files: SpoolFiles, id: number, start: number, known: KnownSources): Promise<Segment> {
  const sources: Source[] = [];
  const bytes = await files.scan(id, start, ({ text }) => sources.push(known.bound(sourceOf(text))));
  // The position is in the middle of a line, or behind the end: somebody else wrote it, or the file.
  if (bytes < start) return recoverFile(files, id, 0, known);
  await files.cut(id, bytes);
  const segment = new Segment(id, bytes, start);
  for (const source of sources) segment.add(source);
  return segment;
}
