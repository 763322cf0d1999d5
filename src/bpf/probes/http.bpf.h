// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "common/request_rows.bpf.h"
#include "common/shared.bpf.h"
#include "http_text.bpf.h"
#include "http_turn.bpf.h"
#include <linux/types.h>

enum http_role {
	ROLE_CLIENT, /* sends the requests */
	ROLE_SERVER,
};

SHARED_ENUM(http_role);

/* Outcomes of a request that are not a status code. */
enum http_outcome {
	OUTCOME_BEGUN, /* not an outcome: counts requests when they begin */
	OUTCOME_NONE, /* the connection ended without a response */
	OUTCOME_UNKNOWN, /* the response was not seen, or could not be assigned to a request */
	OUTCOME_STRAY, /* not a request: data that could not be assigned to one */
	OUTCOME_GIVEN_UP, /* not a request: a connection whose text turned out not to be HTTP/1.x */
	OUTCOME_RESET, /* one end has reset the stream of HTTP/2 */
};

SHARED_ENUM(http_outcome);

/* Reasons why the outcome of a request is unknown, or why data is stray. */
enum http_cause {
	CAUSE_NOTHING,
	CAUSE_REORDERED, /* bytes are missing: segments arrived out of order and could not be kept */
	CAUSE_LATE, /* the connection is older than the probe */
	CAUSE_BUSY, /* another CPU did not finish the previous segment in time */
	CAUSE_LIMIT, /* too many open requests, or too many lines in a segment */
	CAUSE_UNREADABLE, /* the text is not valid HTTP/1.x */
	CAUSE_ORPHAN, /* a response without a request */
};

SHARED_ENUM(http_cause);

/* Position of a stream in its messages. */
enum http_mode {
	MODE_START, /* before a message */
	MODE_PREFIX, /* in a header of the PROXY protocol, version 1 */
	MODE_FIRST, /* in the first line of a message */
	MODE_HEADER,
	MODE_BODY, /* in a body or a chunk; `rest` bytes of it are after the next byte that is wanted */
	MODE_CHUNK, /* before the size of a chunk */
	MODE_TRAILER,
	MODE_UNTIL_REQUEST, /* in a response whose end is where the response to the next request begins */
	MODE_TO_END, /* in a body that ends with the connection */
	MODE_LOST, /* the position is not known */
};

/* Length of the body of a message. */
enum http_body {
	BODY_NOT_DECLARED,
	BODY_LENGTH,
	BODY_CHUNKED,
	BODY_TO_END,
	BODY_NONE, /* regardless of the headers */
	BODY_UPGRADE, /* frames of HTTP/2 follow the headers */
};

/* Where the ID of a trace was found; the highest of those in a request is kept. */
enum http_trace_kind {
	TRACE_NONE,
	TRACE_REQUEST_ID, /* `X-Request-ID`, which proxies set */
	TRACE_SW8, /* SkyWalking's `sw8` */
	TRACE_B3, /* `b3` and `X-B3-TraceId` of Zipkin */
	TRACE_PARENT, /* `traceparent` (W3C Trace Context) */
};

SHARED_ENUM(http_trace_kind);

/* Kinds of the text in a struct http_trace. */
enum http_trace_form {
	TRACE_LINE, /* a line, which may contain bytes of the next one */
	TRACE_VALUE,
	TRACE_HUFFMAN, /* a value in the Huffman code of HTTP/2 */
};

SHARED_ENUM(http_trace_form);

#define HTTP_TRACE_MORE (HTTP_WINDOW - HTTP_TAIL) /* bytes of a further window that the previous one does not have */
#define HTTP_TRACE (HTTP_WINDOW + HTTP_TRACE_MORE)

/* Beginning of a header with the ID of a trace. */
struct http_trace {
	__u32 number; /* of the request, or of the stream of HTTP/2 */
	__u8 kind;
	__u8 skip; /* bytes before the value */
	__u8 bytes; /* in `text` */
	__u8 form; /* enum http_trace_form */
	__u8 text[HTTP_TRACE];
};

/* One direction of a connection. */
struct http_stream {
	struct http_turn turn;
	__u8 mode;
	__u8 method; /* of a request */
	__u8 body;
	__u8 kept; /* bytes in `line` from earlier segments or windows */
	__u8 is_inside; /* the line has begun in an earlier window */
	__u8 has_coding; /* the line is a Transfer-Encoding header */
	__u8 has_trace; /* the line is a header whose beginning is in `trace` of the connection */
	__u8 cause; /* why the position was lost */
	__u8 spare[4];
	__u64 rest; /* bytes */
	__u64 begun; /* time of the first byte of the message */
	__u8 line[2 * HTTP_WINDOW];
};

#define HTTP_OPEN_MAX 128 /* requests of a connection that wait for a response */
#define HTTP_TIMED_MAX 32 /* those of them whose beginning is stored */

struct http_connection {
	__u64 netns, cgroup;
	struct request_key edge;
	__u32 unlisted; /* slot to use if the namespace is not listed */
	__u8 role;
	__u8 is_known; /* the fields above are set */
	__u8 is_late;
	__u8 is_pipelined; /* two requests have waited at the same time, so responses are read in full */
	__u8 is_confirmed; /* a line with the version HTTP/1.x was seen */
	__u8 unsure; /* enum http_cause; if nonzero, responses can no longer be assigned to further requests */
	__u8 offers; /* the latest request offers an upgrade to HTTP/2 */
	__u8 spare;
	__u32 asked, answered; /* numbers of requests that have begun and ended */
	__u32 named; /* number of the request whose first line is in `name` */
	__u32 response_seq; /* sequence number of the first byte of the latest response */
	struct http_stream requests, responses;
	__u64 begun[HTTP_TIMED_MAX]; /* time at which a request began, by its number */
	__u32 timed[HTTP_TIMED_MAX]; /* number of the request that `begun` is about */
	__u8 methods[HTTP_OPEN_MAX]; /* by number of the request */
	__u8 name[HTTP_WINDOW];
	struct http_trace trace; /* of the request with its number, if `kind` is set */
};

/* Freed with the socket. The parser of HTTP/2 takes over connections that are upgraded. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct http_connection);
} http_connections SEC(".maps");
