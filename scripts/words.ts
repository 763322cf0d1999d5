import { readFileSync } from 'node:fs';
import { extname, join } from 'node:path';

/** A pattern that matches awkward wording, with advice on how to improve it. */
export interface WordRule {
  readonly name: string;
  /** Pattern to match against one sentence without leading space. */
  readonly pattern: RegExp;
  readonly advice: string;
}

/**
 * The rules require that a sentence starts with a named subject or a verb, and uses standard terms. When a review finds
 * another kind of awkward sentence, add a rule for it.
 */
export const RULES: readonly WordRule[] = [
  {
    name: 'clause as subject',
    pattern: /^(?:What|Who|Whose|Whoever|Whatever|Whichever)\b(?![^.]*\?$)/,
    advice: 'name the subject: "Rows of ended Pods", not "What has ended"',
  },
  {
    name: 'pronoun as subject',
    pattern: /^(?:Those|That which|Such as|Such a|One) (?:that|who|which|of|with|in|is|has|may)\b/,
    advice: 'name the subject: "Namespaces that …", not "Those that …"',
  },
  {
    name: 'opening with "Of"',
    pattern: /^Of (?!course\b)/,
    advice: 'start with the subject: "Records of this Pod", not "Of this Pod …"',
  },
  {
    name: 'opening with "So"',
    pattern: /^So (?:long|often|many|much|few|far|that|it|they|the|a|an|what|whoever)\b/,
    advice: 'give the quantity its unit and the sentence its subject: "Seconds between two looks"',
  },
  {
    name: 'opening with "Which" or "How" as a noun',
    pattern: /^(?:Which|How (?:many|much|long|often)) (?![^.]*\?$)/,
    advice: 'name the thing: "Number of …", "Interval of …", "Names of …"',
  },
  {
    name: 'word of our own',
    pattern: /\b(?:garbled|strangers?|blindness|nobody's|taken for|for ever|anew|whoever has|come back at once)\b/i,
    advice: 'use the standard word: malformed, unowned, visibility gap, mistaken for, forever, again',
  },
];

/** Files with comments, documentation, help texts or messages. */
const PROSE = /\.(?:md|tsx?|c|cc|h|py|sh)$/;
/** Third-party files, and files that contain sentences which break a rule on purpose. */
const EXEMPT =
  /^(?:src\/bpf\/(?:LICENSE|generated\/)|test\/fixtures\/|test\/golden\/|test\/unit\/words\.test\.ts$|node_modules\/|CHANGELOG\.md$|scripts\/words\.ts$)/;
/** Generated files. Their texts are checked in the files that they are generated from. */
const GENERATED = /^docs\/(?:metrics|probes|api|configuration|events|kernels|drop-reasons|capabilities|sinks)\.md$/;

/** Files and directories to check. All sentences in them have been reviewed. */
export const READ: readonly string[] = [
  'CONTRIBUTING.md',
  'README.md',
  'bench',
  'bpf-napi/README.md',
  'bpf-napi/lib',
  'bpf-napi/src',
  'dashboards',
  'docs/README.md',
  'docs/adding-a-probe.md',
  'docs/adr',
  'docs/architecture.md',
  'docs/comparison.md',
  'docs/dashboards.md',
  'docs/identity.md',
  'docs/image.md',
  'docs/kubernetes.md',
  'docs/kubeskoop-names.md',
  'docs/migration.md',
  'docs/page.md',
  'docs/policies.md',
  'docs/resets.md',
  'docs/runbook.md',
  'docs/scale.md',
  'docs/tutorial.md',
  'docs/web-config.md',
  'manifests',
  'scripts',
  'src/agent',
  'src/api',
  'src/bpf',
  'src/collectors',
  'src/commands',
  'src/config',
  'src/core',
  'src/delivery',
  'src/events',
  'src/files',
  'src/http',
  'src/kernel',
  'src/kubernetes',
  'src/main.ts',
  'src/peers',
  'src/pods',
  'src/policies',
  'src/probe',
  'src/probes',
  'src/server.ts',
  'src/sources',
  'src/web',
  'test/e2e',
  'test/guest',
  'test/image',
  'test/kernel',
  'test/shop',
  'test/soak',
  'test/support',
  'test/unit',
  'vitest.config.ts',
];

export interface WordFinding {
  readonly file: string;
  readonly line: number;
  readonly rule: WordRule;
  readonly sentence: string;
}

/** Checks every sentence in the given files. @param files paths relative to the root */
export function surveyWords(root: string, files: readonly string[], read: readonly string[] = READ): WordFinding[] {
  return files
    .filter((file) => PROSE.test(file) && !EXEMPT.test(file) && !GENERATED.test(file))
    .filter((file) => read.some((part) => file === part || file.startsWith(`${part}/`)))
    .flatMap((file) => findingsIn(file, readFileSync(join(root, file), 'utf8')));
}

export function findingsIn(file: string, text: string): WordFinding[] {
  const blocks = extname(file) === '.md' ? blocksOfMarkdown(text) : blocksOfCode(text, file);
  return blocks.flatMap(({ line, words }) =>
    sentencesOf(words).flatMap((sentence) =>
      RULES.filter(({ pattern }) => pattern.test(sentence)).map((rule) => ({ file, line, rule, sentence })),
    ),
  );
}

interface Block {
  /** Line number at which the block starts. */
  readonly line: number;
  readonly words: string;
}

function sentencesOf(words: string): string[] {
  return words
    .replace(/`[^`]*`/g, '`…`')
    .split(/(?<=[.:!?][)"”]?)\s+(?=[A-Z])/)
    .map((sentence) => sentence.trim())
    .filter((sentence) => sentence !== '');
}

/** Joins the lines of each comment into a block, and returns each string literal as a separate block. */
function blocksOfCode(text: string, file: string): Block[] {
  const comment = /\.(?:py|sh)$/.test(file)
    ? /(?:^|\s)#(?!!)\s?(.*)$/
    : /(?:^\s*\/?\*+\/?|\/\/|\/\*+)\s?(.*?)(?:\*\/.*)?$/;
  const blocks: Block[] = [];
  let open: { line: number; words: string } | undefined;
  for (const [index, line] of text.split('\n').entries()) {
    const found = /^\s*['"`]/.test(line) || /['"`][^'"`]*(?:\/\/|#)/.test(line) ? undefined : comment.exec(line)?.[1];
    const words = found?.replace(/^@\w+\s*(?:\{[^}]*\}\s*)?/, '').trim();
    if (words === undefined || words === '' || /^@/.test(found ?? '')) {
      if (open !== undefined) blocks.push(open);
      open = undefined;
    }
    if (words !== undefined && words !== '') {
      if (open === undefined) open = { line: index + 1, words };
      else open.words += ` ${words}`;
    }
    if (found === undefined) {
      for (const [, , literal = ''] of line.matchAll(/(['"`])((?:[A-Z]|\\.)(?:(?!\1)[^\\]|\\.)*)\1/g)) {
        if (/\s\S+\s/.test(literal)) blocks.push({ line: index + 1, words: literal });
      }
    }
  }
  if (open !== undefined) blocks.push(open);
  return blocks;
}

/** Returns paragraphs, list items and table cells. Omits headings and code. */
function blocksOfMarkdown(text: string): Block[] {
  const blocks: Block[] = [];
  let open: { line: number; words: string } | undefined;
  let isCode = false;
  const close = () => {
    if (open !== undefined) blocks.push(open);
    open = undefined;
  };
  for (const [index, line] of text.split('\n').entries()) {
    if (/^\s*(?:```|~~~)/.test(line)) isCode = !isCode;
    const isText = !isCode && !/^\s*(?:#|```|~~~|$)/.test(line);
    if (!isText || /^\s*(?:[-*]|\d+\.|\||>)\s*/.test(line)) close();
    if (!isText) continue;
    if (line.trimStart().startsWith('|')) {
      for (const cell of line.split(/(?<!\\)\|/)) blocks.push({ line: index + 1, words: cell.trim() });
      continue;
    }
    const words = line
      .replace(/^\s*(?:[-*]|\d+\.|>)\s+/, '')
      .replace(/\*\*/g, '')
      .trim();
    if (open === undefined) open = { line: index + 1, words };
    else open.words += ` ${words}`;
  }
  close();
  return blocks;
}
