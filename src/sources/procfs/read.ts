import { closeSync, openSync, readdirSync, readSync } from 'node:fs';

/** Limit of the length of a file in bytes; no kernel writes a longer one of those that we read. */
const FILE_BYTES_MAX = 4 * 1024 * 1024;

let buffer = Buffer.allocUnsafe(64 * 1024);

/**
 * Reads a whole file of procfs or sysfs as Latin-1 text, synchronously: these are not on a disk, a read takes microseconds, and going
 * through the thread pool costs ten times as much (10 µs against 120 µs for net/snmp).
 * @returns undefined where the file, or the process that it belongs to, is gone
 * @throws the system's error, which names the path, for other reasons
 */
export function readText(path: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
  try {
    return readAll(fd, path);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  } finally {
    closeSync(fd);
  }
}

function readAll(fd: number, path: string): string {
  let length = 0;
  for (;;) {
    const bytes = readSync(fd, buffer, length, buffer.length - length, null);
    length += bytes;
    // A seq_file that has more data fills the buffer or a page; only an empty read is the end.
    if (bytes === 0) return buffer.toString('latin1', 0, length);
    if (length === buffer.length) {
      if (length >= FILE_BYTES_MAX) throw new Error(`${path}: longer than ${FILE_BYTES_MAX} bytes`);
      const longer = Buffer.allocUnsafe(buffer.length * 2);
      buffer.copy(longer, 0, 0, length);
      buffer = longer;
    }
  }
}

/**
 * Calls back for each line of a file that is too long to hold at once, like /proc/kallsyms; never where there is no such file.
 * @throws the system's error, which names the path, for other reasons
 */
export function forEachLine(path: string, handle: (line: string) => void): void {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if (isGone(error)) return;
    throw error;
  }
  try {
    const chunk = Buffer.allocUnsafe(64 * 1024);
    let rest = '';
    for (let bytes = readSync(fd, chunk); bytes > 0; bytes = readSync(fd, chunk)) {
      const lines = (rest + chunk.toString('latin1', 0, bytes)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) handle(line);
    }
    if (rest !== '') handle(rest);
  } finally {
    closeSync(fd);
  }
}

/** Returns file names, sorted; none where there is no such directory, or we may not read it. */
export function listDirectory(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'EACCES' || code === 'ENOTDIR') return [];
    throw error;
  }
}

/** ENOENT: no such process or file. ESRCH: the process ended between open and read. */
export function isGone(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === 'ENOENT' || code === 'ESRCH';
}
