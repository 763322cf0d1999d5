import type { End } from '#policies/connection.ts';
import type { KnownEnd } from '#policies/ends.ts';
import type { Address } from '#policies/network.ts';
import type { ServiceFacts } from '#policies/objects.ts';
import type { PolicySet } from '#policies/policy_set.ts';

/** Source of policies and of the objects that they refer to: a cluster, or files. */
export interface World {
  /** Name of the source, for messages. */
  readonly name: string;
  /** Whether the source contains all objects, so that an object that is missing from it does not exist. */
  readonly isWhole: boolean;
  /**
   * Returns the policies for these namespaces and for the whole cluster.
   * @param namespaces namespaces to read; undefined for all
   */
  policies(namespaces: readonly string[] | undefined): Promise<PolicySet>;
  /** Returns undefined if there is no such Pod. */
  pod(namespace: string, name: string): Promise<KnownEnd | undefined>;
  /** Returns undefined if there is no such Service, or if it cannot be read. */
  service(namespace: string, name: string): Promise<ServiceFacts | undefined>;
  /** Returns the Pod with this address, if one is known, or else an end without a Pod. */
  address(address: Address): Promise<KnownEnd>;
  /** Returns API groups with policies that are not evaluated. */
  otherGroups(): Promise<readonly string[]>;
  /** Assumptions that were made and permissions that were missing, as sentences. */
  readonly notes: readonly string[];
}

/**
 * Returns the namespaces whose policies may apply to connections between these ends; undefined if these may be any,
 * because an end may be a Pod whose namespace is not known.
 */
export function namespacesOf(ends: readonly End[]): readonly string[] | undefined {
  if (ends.some(({ pod, isPod }) => pod === undefined && isPod !== false)) return undefined;
  return [...new Set(ends.flatMap(({ pod }) => pod?.namespace ?? []))];
}
