// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "common/l7.bpf.h"
#include "http_report.bpf.h"
#include "http_turn.bpf.h"
#include <linux/types.h>
#include <stdbool.h>

/* State of HTTP/2 connections (RFC 9113) and of their header compression (RFC 7541, HPACK). */
#define HTTP2_WINDOW 64 /* bytes that are examined at a time */
#define HTTP2_TABLE 128 /* latest entries of a dynamic table; 4096 bytes, the usual size, hold no more than these */
#define HTTP2_OPEN_MAX 256 /* streams of a connection that are followed at the same time */
#define HTTP2_TEXT 64
#define HTTP2_TEXT_MAX 62 /* bytes of an encoded text that is kept; a window also contains its length */
#define HTTP2_TEXT_CUT 56 /* bytes that are kept of a longer one, whose length takes more bytes */
#define HTTP2_TEXTS 8 /* latest paths in a dynamic table of which the text is kept */

/* Kinds of headers. All others are only skipped. */
enum http2_kind {
	KIND_OTHER,
	KIND_METHOD, /* enum http_method */
	KIND_PATH, /* hash */
	KIND_STATUS,
	KIND_CODE, /* grpc-status + 1 */
	KIND_CONTENT, /* enum http2_content */
	KIND_UNKNOWN, /* an entry of the dynamic table that was never seen */
	KIND_TRACE = 8, /* + enum http_trace_kind; stream in whose headers the value was */
};

#define HTTP2_KINDS 16

/* Values of KIND_PATH that are no hashes. */
enum http2_path {
	PATH_ROOT = 1, /* `/` */
	PATH_INDEX, /* `/index.html` */
	PATH_LONG, /* only the beginning of its text is kept */
	PATH_HASH, /* the lowest hash */
};

/* Whether a stream is a gRPC call, by its content-type. */
enum http2_content {
	CONTENT_UNKNOWN,
	CONTENT_GRPC,
	CONTENT_OTHER,
};

#define HTTP2_END_STREAM 1 /* flags of frames */
#define HTTP2_END_HEADERS 4
#define HTTP2_PADDED 8
#define HTTP2_PRIORITY 0x20

/* Position of a direction in its frames. */
enum http2_mode {
	AT_FRAME, /* in the header of a frame, or before it */
	AT_FIELD, /* in a header block, before a field */
	AT_NAME, /* before the name of a field */
	AT_VALUE, /* before the value of a field */
	AT_NOWHERE, /* bytes are missing; the next segment that begins with a frame ends this */
};

/*
 * The dynamic table of a direction. Indices count from the latest entry, so nothing has to be known about evictions,
 * and the entries that a late observer has seen have the right indices.
 */
struct http2_table {
	__u32 inserted; /* number of entries since the table became known */
	__u32 values[HTTP2_TABLE];
	__u8 kinds[HTTP2_TABLE]; /* enum http2_kind */
};

/* The part of a segment that is still wanted. */
struct http2_part {
	__u64 now;
	__u32 start, position, end; /* offsets in the packet or in the kept segment */
	__u32 seq;
	__u32 beyond; /* bytes behind the segment that are skipped */
	__u32 window, in_window; /* offset of the bytes in `buffer`, and their number */
	__u8 direction;
	__u8 is_response;
	__u8 marks; /* enum l7_mark */
	__u8 spare;
};

/* One direction of a connection. */
struct http2_direction {
	__u64 begun; /* time of the first byte of the header block */
	struct http2_part part; /* valid during a turn */
	struct http_turn turn;
	__u32 stream; /* of the frame */
	__u32 length; /* bytes of the frame's payload */
	__u32 fragment; /* bytes of the header block that are left in the frame, without those in `buffer` */
	__u32 padding; /* bytes behind the fragment */
	__u32 rest; /* bytes of a string that are not examined */
	__u32 block_stream; /* stream of the frame in which the header block has begun */
	__u32 block_seq; /* sequence number of the first byte of the header block */
	__u8 mode;
	__u8 type, flags; /* of the frame */
	__u8 has_block; /* a header block has begun and not ended */
	__u8 is_promise; /* the block is a promised request */
	__u8 block_ends_stream;
	__u8 kind; /* of the field */
	__u8 inserts; /* the field becomes an entry of the dynamic table */
	__u8 cause; /* enum http_cause; why older entries of the table are unknown; 0 if they are known */
	__u8 kept; /* bytes in `buffer` from earlier segments or frames */
	__u8 head_kept; /* bytes in `head` */
	__u8 head_wanted; /* bytes of the frame's header, with the fields before its payload */
	__u8 resumes; /* mode in which the next frame continues the header block */
	__u32 found[HTTP2_KINDS]; /* values of the block by kind; 0 if it has none */
	__u8 head[32]; /* header of the frame */
	__u8 buffer[2 * HTTP2_WINDOW + 16]; /* bytes of the header block */
	struct http2_table table;
};

/* A path, as it is encoded. */
struct http2_text {
	__u32 length; /* 0 if there is no text */
	__u8 form; /* enum http_line_form */
	__u8 is_cut; /* the end is missing */
	__u8 spare[2];
	__u8 bytes[HTTP2_TEXT];
};

struct http2_connection {
	__u64 netns, cgroup;
	struct request_key edge;
	__u64 cookie;
	__u32 unlisted; /* slot to use if the namespace is not listed */
	__u32 owner; /* slot whose share of streams the connection uses */
	__u8 role;
	__u8 is_known; /* the fields above are set */
	__u8 is_unsure; /* older than the programs, and no answer has confirmed yet that it is HTTP/2 */
	__u8 gap; /* enum http_cause; if nonzero, requests after `last` may have been missed */
	__u32 last; /* highest stream of a request that was counted */
	__u32 path_hash; /* of `path`; PATH_LONG if it is cut */
	struct http2_text path; /* latest path that was not in a table */
	struct packet_tuple ends; /* from the client to the server, if requests are reported */
	__u32 traced; /* stream in whose headers the ID in `trace` was */
	struct http_trace trace; /* of the stream with its number, if `kind` is set */
	__u32 texts_kept; /* number of texts that were kept */
	__u32 hashes[HTTP2_TEXTS]; /* of `texts` */
	struct http2_text texts[HTTP2_TEXTS]; /* latest paths in the table */
	struct http2_direction requests, responses;
	__u32 open[HTTP2_OPEN_MAX]; /* streams that are followed; 0 for a free slot */
};

/* A stream whose request has begun. */
struct http2_stream_key {
	__u64 connection; /* socket cookie */
	__u32 stream;
	__u32 spare;
};

struct http2_stream {
	__u64 begun; /* time */
	__u64 duration; /* nanoseconds to the first byte of the response */
	__u64 server_duration; /* the same at the server, in a stream of the client; 0 if unknown */
	__u32 name; /* hash of the method of gRPC; 0 if it has no name of its own */
	__u32 response_seq; /* sequence number of the response */
	__u32 is_ended; /* nonzero once a program has ended the stream */
	__u16 code; /* grpc-status + 1; 0 if it was not seen */
	__u16 status; /* 0 if it was not seen */
	__u8 method;
	__u8 content; /* enum http2_content */
	__u8 is_answered;
	__u8 is_hidden; /* the code may be in an entry of the table that was never seen */
	__u8 slot; /* in `open` of the connection */
	__u8 is_counted;
	__u8 spare[2];
	struct http2_text path; /* if its length is not 0 */
	struct http_trace trace; /* if its kind is set */
};

/* How a stream ends. */
enum http2_end {
	END_COMPLETE, /* with the last byte of the response */
	END_RESET, /* by the server */
	END_CANCELLED, /* by the client */
	END_GOAWAY, /* the server refuses to process it */
	END_NONE, /* with the connection */
	END_UNKNOWN,
};

SHARED_ENUM(http2_end);

/* A segment, and the part of it that is still wanted. */
struct http2_segment {
	struct __sk_buff *skb;
	const struct l7_segment *kept; /* bytes of a segment that had to wait; NULL for those of the packet */
	struct http2_connection *connection;
	struct l7_connection *base;
	struct http2_part *part;
};

static __always_inline struct http2_direction *http2_direction_of(struct http2_connection *connection, bool is_response)
{
	struct http2_direction *direction = &connection->requests + HTTP_MASK(is_response, 1);

	barrier_var(direction);
	return direction;
}
