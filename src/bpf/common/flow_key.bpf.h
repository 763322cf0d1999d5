// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <linux/types.h>

/* Sockets that share a row of TCP traffic. */
struct flow_key {
	__u64 netns; /* cookie */
	__u64 cgroup; /* cgroup ID of the socket in the node's own namespace; 0 in other namespaces */
	__u8 peer[16]; /* IPv4 addresses are IPv4-mapped */
	__u16 port; /* server's port */
	__u8 role;
	__u8 spare[5];
};
