// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "http2.bpf.h"
#include <stdbool.h>

/* Counts calls of gRPC. They are in the same rows as requests, with METHOD_GRPC as their method. */
#define METHOD_GRPC 0xff

/* Outcomes of a call that are not a code of gRPC. */
enum grpc_outcome {
	GRPC_NONE = 17, /* the call ended without a code */
	GRPC_RESET, /* one end has reset the stream */
	GRPC_UNSEEN, /* the code was not seen */
};

SHARED_ENUM(grpc_outcome);

#define GRPC_CODE_MAX 16
#define GRPC_UNKNOWN 2 /* the code that clients use instead of those that do not exist */

/* Properties of the calls in a row: the `detail` of its key. */
struct grpc_detail {
	__u8 code; /* or enum grpc_outcome */
	__u8 cause; /* enum http_cause, of GRPC_UNSEEN */
	__u8 role;
	__u8 method; /* METHOD_GRPC, at the place where a struct http_detail has the method */
	__u32 name; /* hash of the method; 0 for all those without a name of their own */
};

EVENT_RECORD(grpc_detail);

/* Names of methods, by owner. */
struct grpc_name_key {
	__u32 owner; /* slot */
	__u32 name; /* hash */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct grpc_name_key);
	__type(value, struct http2_text);
} grpc_names SEC(".maps");

EVENT_RECORD(grpc_name_key);
EVENT_RECORD(http2_text);

/* Number of names, by slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} grpc_named SEC(".maps");

#define GRPC_NAMES_MAX 64 /* of an owner */

/*
 * Returns the name to count a call under: the hash of its path, or 0 if the owner has too many methods or the text of
 * the path is not known.
 */
static __always_inline __u32 grpc_name_of(const struct http2_connection *connection, __u32 hash)
{
	struct grpc_name_key key = {.owner = connection->owner, .name = hash};
	static const struct http2_text no_text = {};
	__u32 owner = connection->owner, *named;
	struct http2_text *text;

	if (!hash || bpf_map_lookup_elem(&grpc_names, &key))
		return hash;
	if (connection->path_hash != hash)
		return 0;
	named = bpf_map_lookup_elem(&grpc_named, &owner);
	if (!named || *named >= GRPC_NAMES_MAX)
		return 0;
	__sync_fetch_and_add(named, 1);
	/* Verifiers before 6.4 do not accept the argument of a global function as a value. */
	if (bpf_map_update_elem(&grpc_names, &key, &no_text, BPF_NOEXIST))
		__sync_fetch_and_add(named, -1);
	text = bpf_map_lookup_elem(&grpc_names, &key);
	if (!text)
		return 0;
	*text = connection->path;
	return hash;
}

/*
 * Counts a call. If the owner has no free row, the call is counted without its name, so that there are only a few
 * overflow rows. A global function, so that the verifier checks it once.
 *
 * @param number bytes of a struct grpc_detail
 * @param duration nanoseconds; 0 if it has none
 */
__noinline int grpc_add(const struct http2_connection *connection, __u64 number, __u64 duration)
{
	struct place_key key = {};
	struct http_row *row;

	if (!connection)
		return 0;
	key.netns = connection->netns;
	key.cgroup = connection->cgroup;
	key.detail = number;
	row = bpf_map_lookup_elem(&http_rows, &key);
	if (!row) {
		if (!room_has_free(place_slot(connection->netns, connection->unlisted)))
			key.detail = (__u32)number;
		row = http_row_of(&key, connection->unlisted);
	}
	if (!row)
		return 0;
	__sync_fetch_and_add(&row->requests, 1);
	if (duration)
		histogram_add_shared(&row->durations, duration);
	return 0;
}

/* @param outcome code or enum grpc_outcome */
static __always_inline __u64 grpc_number_of(const struct http2_connection *connection, __u32 name, __u8 outcome,
					    __u8 cause)
{
	struct grpc_detail detail = {
		.code = outcome,
		.cause = cause,
		.role = connection->role,
		.method = METHOD_GRPC,
		.name = name,
	};
	__u64 number;

	__builtin_memcpy(&number, &detail, sizeof(number));
	return number;
}
