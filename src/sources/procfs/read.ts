import { closeSync, openSync, readdirSync, readSync } from 'node:fs';

/** Maximum file length in bytes. All files that are read with this function are shorter. */
const FILE_BYTES_MAX = 4 * 1024 * 1024;
/**
 * Maximum number of bytes per read call. A read of 4 MiB from /proc/sys fails with ENOMEM (kernel:
 * fs/proc/proc_sysctl.c, proc_sys_call_handler()), and the buffer may have grown to that size for another file.
 */
const READ_BYTES_MAX = 1024 * 1024;

let buffer = Buffer.allocUnsafe(64 * 1024);

/**
 * Reads a whole file of procfs or sysfs synchronously as Latin-1 text. Reads of these files take microseconds because
 * no disk is involved. In the thread pool, they would take ten times as long (120 µs instead of 10 µs for net/snmp).
 * @returns undefined if the file or its process is gone
 * @throws the system error for any other reason, with the path in its message
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
    throw withPath(error, path);
  } finally {
    closeSync(fd);
  }
}

/** Adds the path to a read error, whose message does not contain it. */
function withPath(error: unknown, path: string): unknown {
  if (error instanceof Error && !error.message.includes(path)) error.message = `${error.message} '${path}'`;
  return error;
}

function readAll(fd: number, path: string): string {
  let length = 0;
  for (;;) {
    const bytes = readSync(fd, buffer, length, Math.min(buffer.length - length, READ_BYTES_MAX), null);
    length += bytes;
    // A seq_file may return less than requested, so only an empty read marks the end of the file.
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
 * Calls `handle` for each line of a file that is too long to keep in memory, such as /proc/kallsyms. Does nothing if
 * the file does not exist.
 * @throws the system error for any other reason, with the path in its message
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

/** Returns the names in a directory, sorted; empty if the directory does not exist or cannot be read. */
export function listDirectory(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'EACCES' || code === 'ENOTDIR') return [];
    throw error;
  }
}

/** ENOENT: the process or file does not exist. ESRCH: the process ended between open and read. */
export function isGone(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === 'ENOENT' || code === 'ESRCH';
}
