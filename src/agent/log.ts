import { createLogger, format, type Logger, transports } from 'winston';
import type { LogLevel } from '#config/schema.ts';
import { visibleLines } from '#core/inert.ts';

const INDENT = '  ';

/** Messages quote documents, servers, paths and names: no part of these may look like a line of its own, or control a terminal. */
const inert = format((info) => ({ ...info, message: visibleLines(String(info.message), INDENT) }));

/** The agent's own log: a line each on stderr, so that stdout has only events. */
export function createLog(level: LogLevel): Logger {
  const line = format.printf(({ timestamp, level: severity, message }) => `${timestamp} ${severity} ${message}`);
  return createLogger({
    level,
    format: format.combine(inert(), format.timestamp(), line),
    transports: [new transports.Console({ stderrLevels: ['error', 'warn', 'info', 'debug'] })],
  });
}
