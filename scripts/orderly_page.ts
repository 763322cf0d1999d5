import { CATALOGUE, NOT_SHOWN, type Pattern } from '../test/support/orderly/catalogue.ts';
import { table } from './markdown.ts';

function testedOn({ needs }: Pattern): string {
  if (needs === undefined) return 'host and guests';
  if (needs === 'mptcp') return 'host and guests whose kernels have Multipath TCP';
  return `guests, because it needs the module ${needs}`;
}

function row(pattern: Pattern): string[] {
  const { title, twin, families } = pattern;
  return [
    title,
    families === undefined ? 'IPv4, IPv6' : 'IPv4',
    testedOn(pattern),
    twin.words,
    twin.reason === undefined ? '' : `\`${twin.reason}\``,
  ];
}

/** Renders docs/orderly-traffic.md, a catalogue of traffic in which nothing is lost. */
export function orderlyPage(): string {
  return [
    '# Orderly traffic',
    '',
    'The kernel frees many packets without delivering them although nothing is lost, for example at the end of a connection, after a ping, or because a frame is for another host. The',
    'tests play the traffic in these tables over IPv4 and IPv6, and require that netsonde reports no drop (`netsonde_packet_drops_total`) and no warning.',
    'The tests also play a variant of each pattern in which one packet is lost. netsonde must then report exactly one drop with its event. In both cases, the sum of drops and discards',
    '([definition](drop-reasons.md#what-counts-as-lost)) must equal the count of an independent BPF program.',
    '',
    'If a drop reason is named, only this reason distinguishes the variant from the pattern. On a kernel without the reason, netsonde counts neither as a drop. Linux 5.10 has no reasons, and 6.1 and 6.12 have only some of them or report them in fewer places.',
    '',
    ...CATALOGUE.flatMap(({ title, patterns }) => [
      `## ${title}`,
      '',
      table(
        ['traffic without a loss', 'IP version', 'tested on', 'variant with a loss', 'drop reason'],
        patterns.map(row),
      ),
      '',
    ]),
    '## Traffic that is not tested',
    '',
    table(
      ['traffic', 'reason'],
      NOT_SHOWN.map(({ title, why }) => [title, why]),
    ),
    '',
  ].join('\n');
}
