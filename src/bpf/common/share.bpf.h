// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "netns.bpf.h"
#include "shared.bpf.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/*
 * Owners of namespaces. An owner is, for example, a Pod with all of its namespaces. Each owner has a reserved part of
 * the maps that other owners cannot use (ADR 25), and is identified by a slot, a small number assigned by user space.
 * Namespaces that user space has not assigned to an owner are unlisted and share the first two slots.
 */
enum owner_slot {
	SLOT_UNLISTED,
	SLOT_NESTED, /* unlisted, and created by a process that may be root only in its own user namespace */
	SLOT_FIRST, /* first slot for owners */
};

SHARED_ENUM(owner_slot);

#define SLOTS (SLOT_FIRST + 1024)

/* Slot by namespace cookie. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, __u64);
	__type(value, __u32);
} owners SEC(".maps");

/* Objects from which a namespace can be determined if only its cookie is known. Each pointer may be NULL. */
struct netns_clue {
	const struct net_device *device;
	const struct sock *sk;
};

static __always_inline const struct net *clue_net(struct netns_clue clue)
{
	/* Copied to local variables because CO-RE would otherwise try to find struct netns_clue in the kernel's BTF. */
	const struct net_device *device = clue.device;
	const struct sock *sk = clue.sk;

	if (device)
		return BPF_CORE_READ(device, nd_net.net);
	return sk ? BPF_CORE_READ(sk, __sk_common.skc_net.net) : NULL;
}

static __always_inline bool owner_listed(__u64 netns, __u32 *slot)
{
	__u32 *listed = bpf_map_lookup_elem(&owners, &netns);

	if (listed)
		*slot = *listed < SLOTS ? *listed : SLOT_UNLISTED;
	return listed;
}

static __always_inline __u32 unlisted_slot(const struct net *net)
{
	return net && BPF_CORE_READ(net, user_ns, level) > 0 ? SLOT_NESTED : SLOT_UNLISTED;
}

static __always_inline __u32 owner_slot(__u64 netns, struct netns_clue clue)
{
	__u32 slot;

	return owner_listed(netns, &slot) ? slot : unlisted_slot(clue_net(clue));
}

static __always_inline __u32 owner_slot_of(__u64 netns, const struct net *net)
{
	__u32 slot;

	return owner_listed(netns, &slot) ? slot : unlisted_slot(net);
}
