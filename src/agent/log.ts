import { createLogger, format, type Logger, transports } from 'winston';
import type { LogLevel } from '#config/schema.ts';

/** The agent's own log: a line each on stderr, so that stdout is the events' alone. */
export function createLog(level: LogLevel): Logger {
  const line = format.printf(({ timestamp, level: severity, message }) => `${timestamp} ${severity} ${message}`);
  return createLogger({
    level,
    format: format.combine(format.timestamp(), line),
    transports: [new transports.Console({ stderrLevels: ['error', 'warn', 'info', 'debug'] })],
  });
}
