// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <bpf/bpf_helpers.h>

/*
 * An enum whose values user space uses too: scripts/generate_layouts.ts reads them from the object's BTF. BTF has
 * only types that something refers to, so a variable refers to this enum; libbpf does not load its section.
 */
#define SHARED_ENUM(name) enum name name##_shared SEC("shared") = 0
