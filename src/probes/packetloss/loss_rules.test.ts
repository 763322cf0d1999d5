import { expect, it } from 'vitest';
import { discardClass, lossRule } from '#bpf/generated/common.ts';
import { DESCRIBED_REASONS, describeDrop, describeReason } from './drop_hints.ts';
import type { DropReasons } from './drop_reasons.ts';
import { CLASS_HELP, DISCARD_CLASSES, lossRules, lossWords, subsystemRules } from './loss_rules.ts';

function kernelWith(names: Readonly<Record<string, number>>): DropReasons {
  return {
    all: Object.keys(names),
    number: (name: string) => names[name],
    subsystem: (name: string) => ({ MAC80211_UNUSABLE: 1, OPENVSWITCH: 3 })[name],
  } as unknown as DropReasons;
}

it('has the classes of the program, in its order', () => {
  expect(DISCARD_CLASSES).toEqual(Object.keys(discardClass));
  expect(Object.keys(CLASS_HELP)).toEqual(Object.keys(discardClass));
});

it('classes a described reason as a loss unless the table says otherwise, and no newer one', () => {
  const names = {
    NOT_SPECIFIED: 2,
    NO_SOCKET: 3,
    NETFILTER_DROP: 8,
    TCP_OLD_DATA: 9,
    SEG6_TOMORROW: 70,
    OF_TOMORROW: 71,
  };
  const rules = lossRules(kernelWith(names), []);
  expect(rules[2]).toBe(lossRule.no_reason);
  expect(rules[3]).toBe(lossRule.request);
  expect(rules[8]).toBe(lossRule.loss);
  expect(rules[9]).toBe(lossRule.class + discardClass.duplicate);
  expect(rules[70]).toBe(lossRule.loss);
  expect(rules[71]).toBe(lossRule.unknown);
  expect(rules[200]).toBe(lossRule.unknown);
});

it('decides by the packet on a kernel without reasons', () => {
  expect(lossRules(kernelWith({}), [])[0]).toBe(lossRule.no_reason);
});

it('does not count a segment outside of the window as lost where duplicates have the same reason', () => {
  const without = { NOT_SPECIFIED: 2, TCP_INVALID_SEQUENCE: 40 };
  expect(lossRules(kernelWith(without), [])[40]).toBe(lossRule.sequence);
  expect(lossRules(kernelWith({ ...without, TCP_OLD_SEQUENCE: 41 }), [])[40]).toBe(lossRule.loss);
});

it('follows the configuration, also for a newer reason', () => {
  const rules = lossRules(kernelWith({ NOT_SPECIFIED: 2, NETFILTER_DROP: 8, OF_TOMORROW: 71 }), [
    'NETFILTER_DROP',
    'OF_TOMORROW',
    'OF_ANOTHER_KERNEL',
  ]);
  expect(rules[8]).toBe(lossRule.class + discardClass.configured);
  expect(rules[71]).toBe(lossRule.class + discardClass.configured);
});

it('classes drops of Open vSwitch as decisions, and those of no other subsystem', () => {
  expect([...subsystemRules(kernelWith({}))]).toEqual([0, 0, 0, lossRule.loss, 0, 0, 0, 0]);
});

it('describes the rule of each described reason', () => {
  for (const name of DESCRIBED_REASONS) expect(lossWords(name), name).not.toMatch(/undefined/);
});

it('describes a drop without a reason by the function that freed the packet', () => {
  expect(describeDrop('NOT_SPECIFIED', 'neigh_invalidate+0x1a/0x100').what).toMatch(/next hop/);
  expect(describeDrop('unknown', 'qdisc_reset.part.0+0x1a/0x100 [sch_x]').what).toMatch(/queue/);
  expect(describeDrop('NOT_SPECIFIED', 'a_function+0x1/0x2')).toEqual(describeReason('NOT_SPECIFIED'));
  expect(describeDrop('NETFILTER_DROP', 'ip_error+0x1/0x2')).toEqual(describeReason('NETFILTER_DROP'));
});
