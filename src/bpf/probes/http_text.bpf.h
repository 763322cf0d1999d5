// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "common/shared.bpf.h"
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/*
 * Reads the text of HTTP/1.x in words of eight bytes. The code has few branches, because the verifier explores each
 * combination of them.
 */
#define HTTP_WINDOW 64 /* bytes of a line that are examined at a time */
#define HTTP_TAIL 16 /* last bytes of a window that are examined again with the next one, if the line's end matters */

/* Verifiers before 6.4 lose bounds that the compiler has proved on a copy, so the register itself is masked. */
#define HTTP_MASK(value, mask)                                \
	({                                                    \
		__u64 masked_ = (value);                      \
		asm volatile("%0 &= " #mask : "+r"(masked_)); \
		masked_;                                      \
	})

/* The methods of RFC 9110 and RFC 5789. */
enum http_method {
	METHOD_OTHER,
	METHOD_GET,
	METHOD_HEAD,
	METHOD_POST,
	METHOD_PUT,
	METHOD_DELETE,
	METHOD_PATCH,
	METHOD_OPTIONS,
	METHOD_CONNECT,
	METHOD_TRACE,
	METHOD_NONE, /* the text is not a request line */
};

SHARED_ENUM(http_method);

#define HTTP_WORD(a, b, c, d, e, f, g, h)                                                                           \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 | (__u64)(f) << 40 | \
	 (__u64)(g) << 48 | (__u64)(h) << 56)
#define HTTP_BYTES(count) ((1ULL << 8 * (count)) - 1)
/* Makes letters lower case. Changes some other characters as well, but none into a letter. */
#define HTTP_LOWER 0x2020202020202020ULL

/*
 * Eight bytes at any address in a map. Programs can read them at once, but the compiler would read one byte after
 * another if it knew that the address need not be aligned.
 */
typedef __u64 __attribute__((may_alias)) http_bytes;

static __always_inline __u64 http_word(const __u8 *text)
{
	return *(const http_bytes *)text;
}

/* Copies bytes from one map to another. @param bytes a multiple of eight */
static __always_inline void http_copy(__u8 *to, const __u8 *from, const __u32 bytes)
{
#pragma unroll
	for (__u32 at = 0; at < bytes; at += 8)
		*(http_bytes *)(to + at) = http_word(from + at);
}

/* Returns the method at the start of a request line. @param word first eight bytes */
static __always_inline __u8 http_method_of(__u64 word)
{
	if ((word & HTTP_BYTES(4)) == HTTP_WORD('G', 'E', 'T', ' ', 0, 0, 0, 0))
		return METHOD_GET;
	if ((word & HTTP_BYTES(4)) == HTTP_WORD('P', 'U', 'T', ' ', 0, 0, 0, 0))
		return METHOD_PUT;
	if ((word & HTTP_BYTES(5)) == HTTP_WORD('H', 'E', 'A', 'D', ' ', 0, 0, 0))
		return METHOD_HEAD;
	if ((word & HTTP_BYTES(5)) == HTTP_WORD('P', 'O', 'S', 'T', ' ', 0, 0, 0))
		return METHOD_POST;
	if ((word & HTTP_BYTES(6)) == HTTP_WORD('P', 'A', 'T', 'C', 'H', ' ', 0, 0))
		return METHOD_PATCH;
	if ((word & HTTP_BYTES(6)) == HTTP_WORD('T', 'R', 'A', 'C', 'E', ' ', 0, 0))
		return METHOD_TRACE;
	if ((word & HTTP_BYTES(7)) == HTTP_WORD('D', 'E', 'L', 'E', 'T', 'E', ' ', 0))
		return METHOD_DELETE;
	if (word == HTTP_WORD('O', 'P', 'T', 'I', 'O', 'N', 'S', ' '))
		return METHOD_OPTIONS;
	if (word == HTTP_WORD('C', 'O', 'N', 'N', 'E', 'C', 'T', ' '))
		return METHOD_CONNECT;
	return METHOD_NONE;
}

/* Returns the status of the status line `HTTP/1.x NNN`; 0 for other text. @param rest bytes 8 to 11 */
static __always_inline __u16 http_status_of(__u64 word, __u32 rest)
{
	__u32 hundreds = (rest >> 8 & 0xff) - '0', tens = (rest >> 16 & 0xff) - '0', ones = (rest >> 24) - '0';

	if ((word & HTTP_BYTES(7)) != HTTP_WORD('H', 'T', 'T', 'P', '/', '1', '.', 0) || (rest & 0xff) != ' ')
		return 0;
	if (hundreds < 1 || hundreds > 5 || tens > 9 || ones > 9)
		return 0;
	return hundreds * 100 + tens * 10 + ones;
}

/* Returns the newlines in a window: bit i is set if byte i is one. @param text HTTP_WINDOW bytes */
static __always_inline __u64 http_newlines(const __u8 *text)
{
	__u64 found = 0;

#pragma unroll
	for (int index = 0; index < HTTP_WINDOW / 8; index++) {
		__u64 differs = http_word(text + index * 8) ^ 0x0a0a0a0a0a0a0a0aULL, rest;

		/* Carries stay within their bytes, so the highest bit of a byte is 0 only if the byte is. */
		rest = ((differs & 0x7f7f7f7f7f7f7f7fULL) + 0x7f7f7f7f7f7f7f7fULL) | differs;
		/* Moves the highest bits of all bytes together. */
		found |= ((~rest >> 7 & 0x0101010101010101ULL) * 0x0102040810204080ULL >> 56) << (index * 8);
		barrier_var(found);
	}
	return found;
}

/* Returns the index of the lowest bit that is set; HTTP_WINDOW if there is none. */
static __always_inline __u32 http_lowest(__u64 bits)
{
	__u64 below = (bits - 1) & ~bits;

	/* Counts the bits. */
	below -= below >> 1 & 0x5555555555555555ULL;
	below = (below & 0x3333333333333333ULL) + (below >> 2 & 0x3333333333333333ULL);
	below = (below + (below >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return below * 0x0101010101010101ULL >> 56;
}

#define HTTP_DIGITS 16
#define HTTP_NO_NUMBER (~0ULL)

/* Returns the number after optional spaces; HTTP_NO_NUMBER if there is none, or if it has more than 15 digits. */
static __always_inline __u64 http_number(const __u8 *text)
{
	__u64 number = 0, is_over = 0, has_begun = 0, is_bad = 0;

#pragma unroll
	for (int index = 0; index < HTTP_DIGITS; index++) {
		__u64 digit = (__u64)text[index] - '0';
		__u64 is_digit = ((digit - 10) & ~digit) >> 63;
		__u64 is_newline = ((__u64)(text[index] ^ '\n') - 1) >> 63;
		__u64 is_blank =
			((__u64)(text[index] ^ ' ') - 1) >> 63 | ((__u64)(text[index] ^ '\r') - 1) >> 63 | is_newline;

		is_bad |= ~is_over & ~(is_digit | is_blank) & 1;
		is_over |= (has_begun & ~is_digit) | is_newline;
		has_begun |= is_digit;
		number += (number * 9 + digit) * (is_digit & ~is_over & 1);
		barrier_var(number);
		barrier_var(is_over);
		barrier_var(has_begun);
		barrier_var(is_bad);
	}
	return has_begun & is_over & ~is_bad & 1 ? number : HTTP_NO_NUMBER;
}

#define HTTP_CHUNK_DIGITS 8

/* Returns the size in the first line of a chunk; HTTP_NO_NUMBER if there is none, or if it has more than 7 digits. */
static __always_inline __u64 http_chunk_size(const __u8 *text)
{
	__u64 size = 0, goes_on = 1, digits = 0;

#pragma unroll
	for (int index = 0; index < HTTP_CHUNK_DIGITS; index++) {
		__u64 digit = (__u64)text[index] - '0', letter = ((__u64)text[index] | 32) - 'a';
		__u64 is_digit = ((digit - 10) & ~digit) >> 63, is_letter = ((letter - 6) & ~letter) >> 63;

		goes_on &= is_digit | is_letter;
		size = size * (1 + 15 * goes_on) + (digit * is_digit + (letter + 10) * is_letter) * goes_on;
		digits += goes_on;
		barrier_var(size);
		barrier_var(goes_on);
		barrier_var(digits);
	}
	return digits && !goes_on ? size : HTTP_NO_NUMBER;
}
