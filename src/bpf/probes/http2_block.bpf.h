// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "http2_hpack.bpf.h"
#include "http2_streams.bpf.h"

/* Reads header blocks field by field. Only the dynamic table and the values that matter are kept. */

/* Makes the entries that the dynamic table has unknown. */
static __always_inline void http2_forget_table(struct http2_direction *direction, __u8 cause)
{
	direction->table.inserted = 0;
	direction->cause = cause;
}

/*
 * Notes that the position in a direction is not known any more. Requests that are missing are counted when the number
 * of a later stream tells how many there were. Responses that are missing leave their requests unknown. A global
 * function, like the others here, so that the verifier checks it once instead of on each path.
 */
__noinline int http2_lose(struct http2_connection *connection, bool is_response, __u8 cause)
{
	struct http2_direction *direction;

	if (!connection)
		return 0;
	direction = http2_direction_of(connection, is_response);
	direction->mode = AT_NOWHERE;
	direction->kept = direction->head_kept = 0;
	direction->rest = direction->has_block = 0;
	http2_forget_table(direction, cause);
	if (is_response)
		http2_end_all(connection, 0, END_UNKNOWN, cause);
	else
		connection->gap = cause;
	return 0;
}

/* A header block of requests has ended. */
static __always_inline void http2_end_request(struct http2_connection *connection)
{
	struct http2_direction *direction = &connection->requests;

	/* Further blocks of a stream are trailers. A client's streams have odd numbers. */
	if (direction->stream & 1 && direction->stream > connection->last)
		http2_begin(connection, direction->stream, direction->begun, direction->found);
}

/* A header block of responses has ended. */
static __always_inline void http2_end_response(struct http2_connection *connection)
{
	struct http2_direction *direction = &connection->responses;
	struct http2_stream_key key = {.connection = connection->cookie, .stream = direction->stream};
	const __u32 *found = direction->found;
	struct http2_stream *stream;
	bool is_followed = true;

	stream = bpf_map_lookup_elem(&http2_streams, &key);
	if (!stream) {
		if (connection->gap && key.stream & 1 && key.stream > connection->last) {
			http2_count_missing(connection, key.stream + 2);
			connection->last = key.stream;
		}
		return;
	}
	if (!stream->is_answered) {
		if (found[KIND_STATUS] && found[KIND_STATUS] < 200 && !direction->block_ends_stream)
			return;
		is_followed = http2_answer(connection, stream, found, direction->begun, direction->cause);
	}
	if (found[KIND_CODE]) {
		stream->code = found[KIND_CODE];
		if (stream->content == CONTENT_UNKNOWN)
			stream->content = CONTENT_GRPC;
	} else if (found[KIND_UNKNOWN]) {
		stream->is_hidden = 1;
	}
	if (direction->block_ends_stream || !is_followed)
		http2_end(connection, direction->stream, END_COMPLETE, direction->cause);
}

/* A header block has ended. */
__noinline int http2_end_block(struct http2_connection *connection, bool is_response)
{
	struct http2_direction *direction;

	if (!connection)
		return 0;
	direction = http2_direction_of(connection, is_response);
	direction->has_block = 0;
	/* A promised request is not followed. */
	if (direction->is_promise)
		return 0;
	if (is_response)
		http2_end_response(connection);
	else
		http2_end_request(connection);
	return 0;
}

/* Returns an entry: kind << 32 | value. */
static __always_inline __u64 http2_entry(struct http2_direction *direction, __u32 index)
{
	const struct http2_table *table = &direction->table;
	__u32 entry, back = index - HTTP2_STATIC - 1;
	__u64 place;

	if (index <= HTTP2_STATIC) {
		entry = http2_static[HTTP_MASK(index, 63)];
		return (__u64)(entry >> 12) << 32 | (entry & 0xfff);
	}
	if (back >= table->inserted || back >= HTTP2_TABLE) {
		/* An entry that is too old, or one that never was. */
		if (!direction->cause)
			direction->cause = back < table->inserted ? CAUSE_LIMIT : CAUSE_UNREADABLE;
		return (__u64)KIND_UNKNOWN << 32 | 1;
	}
	place = HTTP_MASK(table->inserted - 1 - back, 127);
	return (__u64)table->kinds[place] << 32 | table->values[place];
}

static __always_inline void http2_find(struct http2_direction *direction, __u32 kind, __u32 value)
{
	direction->found[HTTP_MASK(kind, 15)] = value;
}

/*
 * Adds a field to the dynamic table, even if it is too large for it: such a field empties the table, so that nothing
 * refers to it or to earlier ones.
 */
static __always_inline void http2_insert(struct http2_direction *direction, __u32 value)
{
	struct http2_table *table = &direction->table;
	__u64 place = HTTP_MASK(table->inserted, 127);

	table->kinds[place] = direction->kind;
	table->values[place] = value;
	table->inserted++;
}

/* Keeps the path of a request, or its beginning. Returns its value. @param text HTTP2_TEXT bytes */
static __always_inline __u32 http2_read_path(struct http2_connection *connection, const __u8 *text, __u32 length,
					     bool is_huffman)
{
	bool is_cut = length > HTTP2_TEXT_MAX;
	__u32 hash = http2_keep_path(&connection->path, text, is_cut ? HTTP2_TEXT_CUT : length, is_huffman);

	connection->path.is_cut = is_cut;
	connection->path_hash = is_cut ? PATH_LONG : hash;
	return connection->path_hash;
}

/*
 * Keeps the ID of a trace. A longer value is kept only if its ID ends within the bytes that are examined.
 * @param text HTTP2_TEXT bytes
 */
static __always_inline __u32 http2_read_trace(struct http2_connection *connection, __u8 kind, const __u8 *text,
					      __u32 length, bool is_huffman)
{
	struct http_trace *trace = &connection->trace;
	__u32 stream = connection->requests.stream;
	bool is_cut = length > HTTP2_TEXT_MAX;

	if (!keeps_traces || (is_cut && kind != TRACE_SW8 && kind != TRACE_B3) ||
	    (trace->number == stream && trace->kind >= kind))
		return 0;
	/* The helper copies faster than code that does not know the alignment. */
	if (bpf_probe_read_kernel(trace->text, HTTP2_TEXT, text))
		return 0;
	trace->number = stream;
	trace->kind = kind;
	trace->skip = 0;
	trace->bytes = is_cut ? HTTP2_TEXT_CUT : length;
	trace->form = is_huffman ? TRACE_HUFFMAN : TRACE_VALUE;
	connection->traced = stream;
	return stream;
}

/* Returns the value of a field that matters. @param text first bytes of the value */
static __always_inline __u32 http2_value(struct http2_connection *connection, bool is_response, __u8 kind,
					 const __u8 *text, __u32 length, bool is_huffman)
{
	__u64 first = http_word(text), second = http_word(text + 8);
	int number;

	switch (kind) {
	case KIND_METHOD:
		return http2_method(first, length, is_huffman);
	case KIND_STATUS:
		number = http2_number(first, length, is_huffman);
		return number >= 100 && number < 600 ? number : 0;
	case KIND_CODE:
		number = http2_number(first, length, is_huffman);
		return number < 0 ? 0 : number > GRPC_CODE_MAX ? GRPC_UNKNOWN + 1 : number + 1;
	case KIND_CONTENT:
		return http2_content_of(first, second, length, text[16] | (__u32)is_huffman << 8);
	case KIND_PATH:
		return is_response ? 0 : http2_read_path(connection, text, length, is_huffman);
	case KIND_UNKNOWN:
		return 1;
	}
	return kind > KIND_TRACE && !is_response
		       ? http2_read_trace(connection, kind - KIND_TRACE, text, length, is_huffman)
		       : 0;
}

/* Number of bytes of a value that are examined. */
static __always_inline __u32 http2_needed(__u8 kind, __u32 length, bool is_response)
{
	bool is_trace = kind > KIND_TRACE;

	if (kind == KIND_OTHER || kind == KIND_UNKNOWN || (is_trace && !keeps_traces))
		return 0;
	if (!is_trace && kind != KIND_PATH)
		return length < 17 ? length : 17;
	return is_response ? 0 : length <= HTTP2_TEXT_MAX ? length : HTTP2_TEXT_CUT;
}

/* Keeps the text of a path that became an entry of the dynamic table. */
static __always_inline void http2_keep_text(struct http2_connection *connection, __u32 hash)
{
	__u64 place = HTTP_MASK(connection->texts_kept, 7);

	connection->texts_kept++;
	connection->hashes[place] = hash;
	connection->texts[place] = connection->path;
}

/* A field refers to an entry of a table. */
static __always_inline void http2_refer(struct http2_connection *connection, struct http2_direction *direction,
					__u64 entry)
{
	__u32 kind = entry >> 32, value = entry;

	http2_find(direction, kind, value);
	if (keeps_traces && kind > KIND_TRACE && value && value == connection->traced &&
	    connection->trace.kind == kind - KIND_TRACE)
		connection->trace.number = direction->stream;
}

/*
 * Reads the beginning of a field: an index, or what precedes a literal value.
 *
 * @param at index of its first byte in the buffer
 * @param length available bytes
 * @return number of bytes that it has; more than `length` if more are needed
 */
__noinline int http2_read_field(struct http2_connection *connection, bool is_response, __u32 at, __u32 length)
{
	struct http2_direction *direction;
	__u32 first, index, mask, used;
	__u64 word, entry, number;

	if (!connection)
		return HTTP2_INCOMPLETE;
	direction = http2_direction_of(connection, is_response);
	word = http_word(direction->buffer + HTTP_MASK(at, 63));
	first = word & 0xff;
	mask = first & 0x80 ? 127 : first & 0x40 ? 63 : first & 0x20 ? 31 : 15;
	number = http2_integer(word, mask);
	used = number >> 32;
	if (used > length)
		return used;
	index = number;
	/* A new size of the table, which changes no index. */
	if (mask == 31)
		return used;
	entry = http2_entry(direction, index);
	if (mask == 127) {
		http2_refer(connection, direction, entry);
		return used;
	}
	direction->inserts = mask == 63;
	direction->kind = entry >> 32;
	direction->mode = index ? AT_VALUE : AT_NAME;
	return used;
}

/*
 * Reads a name or a value. Sets `rest` to the bytes behind those that are examined.
 * @return number of bytes that are examined; more than `length` if more are needed
 */
__noinline int http2_read_string(struct http2_connection *connection, bool is_response, __u32 at, __u32 length)
{
	struct http2_direction *direction;
	__u32 bytes, prefix, needed, value;
	bool is_huffman, is_name;
	__u64 word, number;
	const __u8 *text;

	if (!connection)
		return HTTP2_INCOMPLETE;
	direction = http2_direction_of(connection, is_response);
	text = direction->buffer + HTTP_MASK(at, 63);
	word = http_word(text);
	number = http2_integer(word, 127);
	bytes = number;
	prefix = number >> 32;
	if (prefix > length)
		return prefix;
	is_huffman = word & 0x80;
	is_name = direction->mode == AT_NAME;
	needed = is_name ? (bytes <= 12 ? bytes : 0) : http2_needed(direction->kind, bytes, is_response);
	if (prefix + needed > length)
		return prefix + needed;
	direction->rest = bytes - needed;
	/* A text that is examined is short, or of a kind of which only its first bytes matter, so its prefix is short.
	 */
	text += HTTP_MASK(prefix, 7);
	if (is_name) {
		direction->kind =
			needed ? http2_kind_of(http_word(text), http_word(text + 8), bytes, is_huffman) : KIND_OTHER;
		direction->mode = AT_VALUE;
		return prefix + needed;
	}
	value = http2_value(connection, is_response, direction->kind, text, bytes, is_huffman);
	http2_find(direction, direction->kind, value);
	if (direction->inserts) {
		bool is_path = direction->kind == KIND_PATH && !is_response;

		http2_insert(direction, is_path && value == PATH_LONG ? 0 : value);
		if (events_enabled && is_path && value >= PATH_HASH)
			http2_keep_text(connection, value);
	}
	direction->mode = AT_FIELD;
	return prefix + needed;
}
