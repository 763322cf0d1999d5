// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "http2.bpf.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/*
 * Decodes what is needed of HPACK: integers, the names and values of a few headers, and the digits of the Huffman code.
 * Most are global functions of numbers, so that the verifier checks them only once.
 */
#define HTTP2_INCOMPLETE 0xff /* more bytes than an integer has */
#define HTTP2_STATIC 61 /* entries of the static table */

/* Entries of the static table that matter: kind << 12 | value. */
static const __u16 http2_static[HTTP2_STATIC + 3] = {
	[2] = KIND_METHOD << 12 | METHOD_GET, [3] = KIND_METHOD << 12 | METHOD_POST, [4] = KIND_PATH << 12 | PATH_ROOT,
	[5] = KIND_PATH << 12 | PATH_INDEX,   [8] = KIND_STATUS << 12 | 200,         [9] = KIND_STATUS << 12 | 204,
	[10] = KIND_STATUS << 12 | 206,       [11] = KIND_STATUS << 12 | 304,        [12] = KIND_STATUS << 12 | 400,
	[13] = KIND_STATUS << 12 | 404,       [14] = KIND_STATUS << 12 | 500,        [31] = KIND_CONTENT << 12,
};

/*
 * Decodes an integer with a prefix.
 *
 * @param word first eight bytes
 * @param mask bits of the prefix
 * @return value | number of bytes << 32; the number is HTTP2_INCOMPLETE for values of more than four further bytes
 */
static __always_inline __u64 http2_integer(__u64 word, __u32 mask)
{
	__u64 value = word & mask, bytes = 1, goes_on = value == mask;

#pragma unroll
	for (int index = 0; index < 4; index++) {
		__u64 byte = word >> (8 * (index + 1)) & 0xff;

		value += goes_on * ((byte & 127) << (7 * index));
		bytes += goes_on;
		goes_on &= byte >> 7;
		barrier_var(value);
		barrier_var(bytes);
		barrier_var(goes_on);
	}
	return value | (goes_on ? HTTP2_INCOMPLETE : bytes) << 32;
}

/* Returns a number of up to three digits; -1 for other text. @param word first bytes of the text */
__noinline int http2_number(__u64 word, __u32 length, __u32 is_huffman)
{
	__u64 bits = bpf_be64_to_cpu(word);
	__u32 left = length * 8, number = 0, digits = 0;

	if (!length || length > 3)
		return -1;
	for (int index = 0; index < 3; index++) {
		__u32 width = 8, digit = (__u32)(bits >> 56) - '0';

		if (is_huffman) {
			/* 0 to 2 have five bits, and 3 to 9 have six, from 011001 on. */
			width = bits >> 59 > 2 ? 6 : 5;
			digit = width == 5 ? bits >> 59 : (__u32)(bits >> 58) - 0x19 + 3;
		}
		if (left < width || digit > 9)
			break;
		number = number * 10 + digit;
		bits <<= width;
		left -= width;
		digits++;
	}
	/* The Huffman code is padded to whole bytes. */
	return digits && left < (is_huffman ? 8 : 1) ? (int)number : -1;
}

#define HTTP2_WORD(word, length) ((word) & ((length) < 8 ? HTTP_BYTES(length) : ~0ULL))

/* Returns the enum http_method of the value of `:method`. */
__noinline int http2_method(__u64 word, __u32 length, __u32 is_huffman)
{
	__u8 method;

	if (length > 7)
		return METHOD_OTHER;
	word &= HTTP_BYTES(length & 7);
	if (!is_huffman) {
		method = http_method_of(word | (__u64)' ' << 8 * (length & 7));
		return method == METHOD_NONE ? METHOD_OTHER : method;
	}
	switch (word) {
	case 0x7f83c5:
		return METHOD_GET;
	case 0xff76abd7:
		return METHOD_POST;
	case 0x7fc3d7:
		return METHOD_PUT;
	case 0xff1b82c7:
		return METHOD_HEAD;
	case 0x3ff80d3e83bf:
		return METHOD_DELETE;
	case 0xffd8fb0ed7:
		return METHOD_PATCH;
	case 0x7f775a4d7eafd5:
		return METHOD_OPTIONS;
	case 0xffb7179c4eabbd:
		return METHOD_CONNECT;
	case 0x3fd81bb6df:
		return METHOD_TRACE;
	}
	return METHOD_OTHER;
}

/* Returns the enum http2_kind of the header with a name. @param second bytes 8 to 15 */
__noinline int http2_kind_of(__u64 first, __u64 second, __u32 length, __u32 is_huffman)
{
	first = HTTP2_WORD(first, length);
	if (is_huffman) {
		if (length == 4 && first == 0x3fd358b9)
			return KIND_PATH;
		if (length == 5 && first == 0xa3368d84b8)
			return KIND_STATUS;
		if (length == 5 && first == 0xe4395349b9)
			return KIND_METHOD;
		if (length == 8 && first == 0x8fda3412b2c8ca9a)
			return KIND_CODE;
		if (length == 9 && first == 0x59f5c94a6a49ea21 && (second & 0xff) == 0x7f)
			return KIND_CONTENT;
		if (length == 8 && first == 0x3fa9851d6b21834d)
			return KIND_TRACE + TRACE_PARENT;
		if (length == 9 && first == 0x8d955069ed85b5f2 && (second & 0xff) == 0x27)
			return KIND_TRACE + TRACE_REQUEST_ID;
		if ((length == 9 && first == 0x9a42069bac6cb4f2 && (second & 0xff) == 0x4f) ||
		    (length == 2 && first == 0x9f8d))
			return KIND_TRACE + TRACE_B3;
		if (length == 3 && first == 0xbf8747)
			return KIND_TRACE + TRACE_SW8;
		return KIND_OTHER;
	}
	if (length == 5 && first == HTTP_WORD(':', 'p', 'a', 't', 'h', 0, 0, 0))
		return KIND_PATH;
	if (length == 7 && first == HTTP_WORD(':', 's', 't', 'a', 't', 'u', 's', 0))
		return KIND_STATUS;
	if (length == 7 && first == HTTP_WORD(':', 'm', 'e', 't', 'h', 'o', 'd', 0))
		return KIND_METHOD;
	if (length == 11 && first == HTTP_WORD('g', 'r', 'p', 'c', '-', 's', 't', 'a') &&
	    (second & HTTP_BYTES(3)) == HTTP_WORD('t', 'u', 's', 0, 0, 0, 0, 0))
		return KIND_CODE;
	if (length == 12 && first == HTTP_WORD('c', 'o', 'n', 't', 'e', 'n', 't', '-') &&
	    (second & HTTP_BYTES(4)) == HTTP_WORD('t', 'y', 'p', 'e', 0, 0, 0, 0))
		return KIND_CONTENT;
	if (length == 11 && first == HTTP_WORD('t', 'r', 'a', 'c', 'e', 'p', 'a', 'r') &&
	    (second & HTTP_BYTES(3)) == HTTP_WORD('e', 'n', 't', 0, 0, 0, 0, 0))
		return KIND_TRACE + TRACE_PARENT;
	if (length == 12 && first == HTTP_WORD('x', '-', 'r', 'e', 'q', 'u', 'e', 's') &&
	    (second & HTTP_BYTES(4)) == HTTP_WORD('t', '-', 'i', 'd', 0, 0, 0, 0))
		return KIND_TRACE + TRACE_REQUEST_ID;
	if ((length == 12 && first == HTTP_WORD('x', '-', 'b', '3', '-', 't', 'r', 'a') &&
	     (second & HTTP_BYTES(4)) == HTTP_WORD('c', 'e', 'i', 'd', 0, 0, 0, 0)) ||
	    (length == 2 && first == HTTP_WORD('b', '3', 0, 0, 0, 0, 0, 0)))
		return KIND_TRACE + TRACE_B3;
	if (length == 3 && first == HTTP_WORD('s', 'w', '8', 0, 0, 0, 0, 0))
		return KIND_TRACE + TRACE_SW8;
	return KIND_OTHER;
}

/*
 * Returns the enum http2_content of the value of `content-type`. The body of gRPC-Web contains the trailers, so it is
 * not gRPC here.
 * @param last byte 16; its bit 8 is set if the text is encoded
 */
__noinline int http2_content_of(__u64 first, __u64 second, __u32 length, __u32 last)
{
	if (last >> 8) {
		/* The text is eleven whole bytes, and what may follow begins with a set bit, unlike `-`. */
		return length >= 11 && first == 0x4c3d260d62d0751d && (second & HTTP_BYTES(3)) == 0x64654d &&
				       (length == 11 || second >> 31 & 1)
			       ? CONTENT_GRPC
			       : CONTENT_OTHER;
	}
	if (length < 16 || first != HTTP_WORD('a', 'p', 'p', 'l', 'i', 'c', 'a', 't') ||
	    second != HTTP_WORD('i', 'o', 'n', '/', 'g', 'r', 'p', 'c'))
		return CONTENT_OTHER;
	return length == 16 || last == '+' || last == ';' ? CONTENT_GRPC : CONTENT_OTHER;
}

const volatile __u64 path_seed = 0; /* random, so that no Pod can choose paths with the same hash */

/* Keeps a path and returns its hash, which is at least PATH_HASH. @param length at most HTTP2_TEXT_MAX */
static __always_inline __u32 http2_keep_path(struct http2_text *path, const __u8 *bytes, __u32 length, __u32 is_huffman)
{
	__u64 hash = path_seed ^ (length << 1 | is_huffman);

	path->length = length;
	path->form = is_huffman ? LINE_HUFFMAN : LINE_PATH;
	path->is_cut = 0;
#pragma unroll
	for (int at = 0; at < HTTP2_TEXT; at += 8) {
		__u64 word = http_word(bytes + at), left = length > at ? length - at : 0;
		/* Without a branch: all bytes if eight or more are left. */
		__u64 shift = (8 - (left < 8 ? left : 8)) * 8;

		word = shift < 64 ? word << shift >> shift : 0;
		*(http_bytes *)(path->bytes + at) = word;
		hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 29;
		barrier_var(hash);
	}
	hash ^= hash >> 32;
	return (__u32)hash >= PATH_HASH ? (__u32)hash : PATH_HASH;
}
