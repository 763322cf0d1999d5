import { httpTrace, httpTraceForm, httpTraceKind } from '#bpf/generated/common.ts';
import { nameOf } from '#bpf/layout.ts';
import { decodeHuffman } from '#sources/l7/huffman.ts';

type Kind = keyof typeof httpTraceKind;

/** IDs that are all zeros are invalid in W3C Trace Context and in B3. */
const ZEROS = /^0+$/;
/** version-trace-parent-flags, https://www.w3.org/TR/trace-context/#traceparent-header */
const PARENT = /^(?!ff)[\da-f]{2}-([\da-f]{32})-[\da-f]{16}-[\da-f]{2}(?:-|$)/i;
/** The trace, alone or before the span, https://github.com/openzipkin/b3-propagation */
const B3 = /^([\da-f]{32}|[\da-f]{16})(?:-|$)/i;
/** sample-trace-…, https://skywalking.apache.org/docs/main/next/en/api/x-process-propagation-headers-v3/ */
const SW8 = /^[01]-([\w+/=-]+?)-/;
/** An ID of any form, of characters that mean nothing in logs, labels and queries. */
const PLAIN = /^[\w.+/=:@~-]{1,96}$/;

/**
 * Returns the ID of a trace in the value of a header; undefined if it is malformed. The result consists of at most 96
 * printable ASCII characters.
 */
export function traceIdOf(kind: Kind, value: string): string | undefined {
  switch (kind) {
    case 'parent':
      return hexadecimal(PARENT.exec(value)?.[1]);
    case 'b3':
      return hexadecimal(B3.exec(value)?.[1]);
    case 'sw8': {
      const encoded = SW8.exec(value)?.[1];
      return encoded === undefined ? undefined : plain(Buffer.from(encoded, 'base64').toString('latin1'));
    }
    case 'request_id':
      return plain(value);
    case 'none':
      return undefined;
  }
}

function hexadecimal(id: string | undefined): string | undefined {
  return id === undefined || ZEROS.test(id) ? undefined : id.toLowerCase();
}

function plain(id: string): string | undefined {
  return PLAIN.test(id) ? id : undefined;
}

/** Returns the ID in a struct http_trace; undefined if it is malformed or longer than what the kernel keeps. */
export function readTraceId(view: DataView, at: number): string | undefined {
  const kind = nameOf(httpTraceKind, httpTrace.kind(view, at)) ?? 'none';
  const bytes = httpTrace.text(view, at).subarray(0, httpTrace.bytes(view, at));
  const form = httpTrace.form(view, at);
  // The kernel keeps values without their end only if the ID is before it.
  if (form === httpTraceForm.huffman) return traceIdOf(kind, (decodeHuffman(bytes, true) ?? '').trim());
  if (form === httpTraceForm.value) return traceIdOf(kind, Buffer.from(bytes).toString('latin1').trim());
  const text = Buffer.from(bytes).toString('latin1').slice(httpTrace.skip(view, at));
  const end = text.indexOf('\n');
  // The text may contain bytes of the next header. Only `sw8` has its ID before the end.
  if (end < 0 && kind !== 'sw8') return undefined;
  return traceIdOf(kind, (end < 0 ? text : text.slice(0, end)).trim());
}
