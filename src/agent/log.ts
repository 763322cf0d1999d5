import { createLogger, format, type Logger, transports } from 'winston';
import type { LogLevel } from '#config/schema.ts';
import { visibleLines } from '#core/inert.ts';

const INDENT = '  ';

/**
 * Escapes control characters, because messages quote text from documents, servers and paths. Such text must not forge a
 * log line or control the terminal.
 */
const inert = format((info) => ({ ...info, message: visibleLines(String(info.message), INDENT) }));

/** Creates the agent's logger. It writes to stderr, because stdout is for events. */
export function createLog(level: LogLevel): Logger {
  const line = format.printf(({ timestamp, level: severity, message }) => `${timestamp} ${severity} ${message}`);
  return createLogger({
    level,
    format: format.combine(inert(), format.timestamp(), line),
    transports: [new transports.Console({ stderrLevels: ['error', 'warn', 'info', 'debug'] })],
  });
}
