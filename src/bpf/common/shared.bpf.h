// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <bpf/bpf_helpers.h>

/*
 * Exports an enum to user space: scripts/generate_layouts.ts reads it from the object's BTF. BTF only contains types
 * that are used, so this defines a variable of the type. libbpf does not load its section.
 */
#define SHARED_ENUM(name) enum name name##_shared SEC("shared") = 0
