import type { Host, ReachBed } from './bed.ts';

export type Step = (bed: ReachBed) => void;

export const flush =
  (host: Host): Step =>
  (bed) =>
    void bed.exec(host, 'nft flush ruleset');
export const ip =
  (host: Host, line: string): Step =>
  (bed) =>
    void bed.hosts[host].ip(line);
export const run =
  (host: Host, line: string): Step =>
  (bed) =>
    void bed.exec(host, line);
export const rule =
  (host: Host, hook: string, text: string): Step =>
  (bed) =>
    bed.rule(host, hook, text);
export const all =
  (...steps: readonly Step[]): Step =>
  (bed) => {
    for (const step of steps) step(bed);
  };
