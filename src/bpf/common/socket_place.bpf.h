// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "kernel.h"
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* Namespace and cgroup of the socket of a packet, for programs of the type cgroup_skb. */

extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym __weak; /* 6.2 */

/*
 * How a program reads kernel structs. A read through a typed pointer costs a third of a read through a helper.
 * Functions take the method as a constant, so the compiler removes the code for the other one.
 */
enum socket_reads { READS_TYPED, READS_COPIED };

/*
 * Returns the address of an object as an untyped pointer. Through the typed pointer, the program may access only some
 * of the fields. The conversion uses the stack rather than a map, because another run of the program may preempt this
 * one.
 */
static __always_inline const void *plain_address(const void *typed)
{
	const void *plain = NULL;

	bpf_probe_read_kernel(&plain, sizeof(plain), &typed);
	return plain;
}

/* Returns the namespace of a socket. Before 6.15, these programs have no helper that returns it. */
static __always_inline const struct net *net_of(const struct bpf_sock *sk, enum socket_reads reads)
{
	const struct sock *socket;

	if (reads == READS_TYPED) {
		socket = bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct sock));
		return socket->__sk_common.skc_net.net;
	}
	socket = plain_address(sk);
	return BPF_CORE_READ(socket, __sk_common.skc_net.net);
}

/* Returns the ID of a socket's cgroup in the v2 hierarchy; 0 if the socket has none. */
static __always_inline __u64 cgroup_of(const struct bpf_sock *sk, enum socket_reads reads)
{
	const struct sock *socket = NULL;
	const struct cgroup *cgroup;

	if (!bpf_core_field_exists(socket->sk_cgrp_data.cgroup))
		return 0;
	if (reads == READS_TYPED) {
		socket = bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct sock));
		cgroup = socket->sk_cgrp_data.cgroup;
		return cgroup ? cgroup->kn->id : 0;
	}
	socket = plain_address(sk);
	cgroup = BPF_CORE_READ(socket, sk_cgrp_data.cgroup);
	return cgroup ? BPF_CORE_READ(cgroup, kn, id) : 0;
}
