import { createReadStream } from 'node:fs';
import { text } from 'node:stream/consumers';
import { cutJson, pathText } from '#config/faults.ts';
import { ConfigReader } from '#config/load.ts';
import { visible } from '#core/inert.ts';
import { PROBES } from '#probes/index.ts';
import { readConfig } from './kubeskoop/config.ts';
import { convert } from './kubeskoop/convert.ts';
import { findInput, INPUT_BYTES_MAX, NotKubeskoop } from './kubeskoop/input.ts';
import type { Note } from './kubeskoop/notes.ts';
import { writeConfig, writeConfigMap } from './kubeskoop/write.ts';
import { parseArguments } from './options.ts';

export interface Converted {
  /** A valid netsonde configuration. */
  readonly text: string;
  /** One line for each part that was left out, or whose meaning changed. */
  readonly warnings: readonly string[];
  readonly leftOut: number;
}

/** Runs `netsonde convert`. */
export async function runConvert(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArguments(args, {
    strict: { type: 'boolean', default: false },
    output: { type: 'string', short: 'o', default: 'yaml' },
  });
  const { strict, output } = values;
  const [file, ...more] = positionals;
  if (file === undefined || more.length > 0)
    throw new Error("convert: give one file, KubeSkoop's configuration, or - for standard input");
  if (output !== 'yaml' && output !== 'configmap') throw new Error(`-o ${output}: give yaml or configmap`);
  const { text, warnings, leftOut } = await convertFile(file, output);
  process.stdout.write(text);
  for (const warning of warnings) process.stderr.write(`netsonde: warning: ${visible(warning)}\n`);
  return strict && leftOut > 0 ? 1 : 0;
}

/**
 * Converts a KubeSkoop configuration to a netsonde configuration.
 * @param output `configmap` wraps the result in a ConfigMap manifest
 * @throws {NotKubeskoop} if the text is not a KubeSkoop configuration
 */
export function convertText(given: string, output: 'yaml' | 'configmap'): Converted {
  const input = findInput(given);
  const conversion = convert(readConfig(input), input.namespace);
  const written = writeConfig(conversion, input);
  try {
    new ConfigReader(PROBES).parse(written);
  } catch (error) {
    // Only a bug in this command can cause an invalid result.
    throw new Error(`bug in netsonde: the converted configuration is invalid:\n${(error as Error).message}`);
  }
  return {
    text: output === 'yaml' ? written : writeConfigMap(written),
    warnings: conversion.notes.all
      .map((note) => ({ note, line: input.lineOf(note.path) }))
      .toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0))
      .map(({ note, line }) => `${line === undefined ? '' : `line ${line}: `}${warningOf(note)}`),
    leftOut: conversion.notes.leftOut,
  };
}

function warningOf({ path, value, isLeftOut, text: what }: Note): string {
  return [pathText(path), cutJson(value), isLeftOut ? 'left out' : '', what].filter((part) => part !== '').join(': ');
}

/**
 * Converts a file.
 * @param path path of the file, or `-` for standard input
 * @throws if the input cannot be read or is too long
 */
async function convertFile(path: string, output: 'yaml' | 'configmap'): Promise<Converted> {
  const stream = path === '-' ? process.stdin : createReadStream(path, { end: INPUT_BYTES_MAX });
  try {
    return convertText(await text(stream), output);
  } catch (error) {
    if (!(error instanceof NotKubeskoop)) throw error;
    throw new Error(error.message.replace(/^/gm, `${path === '-' ? 'standard input' : path}: `));
  }
}
