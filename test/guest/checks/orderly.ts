import { deepEqual, equal, ok } from 'node:assert/strict';
import { sh } from '../../support/command.ts';
import { isFor, PATTERNS, type Pattern } from '../../support/orderly/catalogue.ts';
import { Kernel } from '../../support/orderly/needs.ts';
import { openTheatres, type Theatre } from '../../support/orderly/theatre.ts';
import { faultsOf, Unclassified } from '../../support/orderly/verdict.ts';
import { defineChecks, Inapplicable } from '../check.ts';
import { kernelFeatures } from '../features.ts';

/** Maximum share of unclassified packets in percent. */
const UNCLASSIFIED_MAX = 1;

interface Context {
  readonly theatres: readonly Theatre[];
  readonly kernel: Kernel;
  readonly unclassified: Unclassified;
}

async function open(resources: AsyncDisposableStack): Promise<Context> {
  // The module must be loaded explicitly, because /dev/net/tun does not exist without it.
  sh('modprobe -q tun || true');
  return { theatres: await openTheatres(resources), kernel: new Kernel(), unclassified: new Unclassified() };
}

/**
 * Plays the pattern, in which nothing is lost. Also plays the variant in which one packet is lost, if this kernel can
 * distinguish it.
 */
const check = (pattern: Pattern) => async (context: Context) => {
  const { theatres, kernel, unclassified } = context;
  if (!kernel.plays(pattern)) {
    equal(pattern.needs, 'mptcp', `the guest lacks ${pattern.needs}`);
    equal(kernelFeatures().multipath, false);
    throw new Inapplicable('this kernel has no Multipath TCP');
  }
  for (const theatre of theatres.filter(({ family }) => isFor(pattern, family))) {
    const orderly = await theatre.play(pattern.id, false);
    deepEqual(faultsOf(orderly, 0, false), [], `${theatre.family}: nothing is lost`);
    const twin = await theatre.play(pattern.id, true);
    deepEqual(faultsOf(twin, kernel.dropsOf(pattern, twin), true), [], `${theatre.family}: ${pattern.twin.words}`);
    unclassified.add(orderly);
    unclassified.add(twin);
  }
};

export const orderly = defineChecks('orderly', open, {
  ...Object.fromEntries(PATTERNS.map((pattern) => [pattern.title, check(pattern)])),
  'classifies nearly all packets that the kernel freed, where it reports the receiver': async ({ unclassified }) => {
    ok(unclassified.freed > 0);
    if (!kernelFeatures().dropReceivers) {
      ok(unclassified.share > 0);
      throw new Inapplicable('this kernel does not report the sockets that receive packets');
    }
    ok(100 * unclassified.share <= UNCLASSIFIED_MAX, `${unclassified.share} of ${unclassified.freed}`);
  },
});
