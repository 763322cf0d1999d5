// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <bpf/bpf_helpers.h>

/*
 * Exports an enum to user space. scripts/generate_layouts.ts reads the enum from the object's BTF, which contains only
 * types that are in use, so this macro defines a variable of the type. libbpf does not load the variable's section.
 */
#define SHARED_ENUM(name) enum name name##_shared SEC("shared") = 0

/*
 * A variable that user space may change while the programs run, unlike a constant. The verifier does not know its
 * value, so it keeps the code for every value.
 */
#define SETTING SEC(".data") volatile

/*
 * Includes the struct in the object's BTF, from which user space gets the layout of structs that are no keys or values
 * of maps, such as the records in the ring buffer.
 */
#define EVENT_RECORD(type) const struct type *const volatile type##_record = NULL
