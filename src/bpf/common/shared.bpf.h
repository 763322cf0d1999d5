// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <bpf/bpf_helpers.h>

/*
 * Exports an enum to user space. scripts/generate_layouts.ts reads the enum from the object's BTF. BTF contains only
 * types that are used, so this macro defines a variable of the type. libbpf does not load the variable's section.
 */
#define SHARED_ENUM(name) enum name name##_shared SEC("shared") = 0
