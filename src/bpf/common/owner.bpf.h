// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "kernel.h"
#include "shared.bpf.h"
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/*
 * Whose a process is: the names of the innermost folders of its control group that are a container's and a Pod's, or
 * nothing. Here is only looked for what may be one; src/pods/cgroup.ts knows the names exactly.
 *
 * To be called under rcu_read_lock(), which keeps the task's cgroups and the names of their folders.
 */
#define OWNER_NAME 256 /* bytes of the longest name of a folder, with the NUL */
#define OWNER_LEVELS 32 /* folders of a path that are looked at, from the innermost on */
#define OWNER_SUBSYSTEMS 16 /* controllers of a kernel: 15 in 6.18 */

/* Characters of what the names hold. */
enum owner_length {
	CONTAINER_ID = 64, /* hexadecimal digits */
	POD_UID = 36,
	STATIC_POD_UID = 32, /* a hash of its manifest */
};

SHARED_ENUM(owner_length);

struct owner_name {
	char text[OWNER_NAME];
};

struct owner_names {
	struct owner_name container; /* empty: there is none, or it is the Pod's own folder */
	struct owner_name pod;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct owner_names);
} owner_scratch SEC(".maps");

struct owner_search {
	const struct css_set *set;
	const struct kernfs_node *folder, *seen;
	bool found;
};

enum owner_kind { OWNER_NONE, OWNER_CONTAINER, OWNER_POD };

static __always_inline char owner_at(const struct owner_name *name, __u32 index)
{
	return name->text[index & (OWNER_NAME - 1)];
}

/*
 * Not 0 where what starts there is neither the whole name nor follows a `-`. Here and below differences are added up by
 * `|`, because the verifier follows each branch.
 */
static __always_inline __u32 owner_joined(const struct owner_name *name, __u32 start)
{
	return start ? owner_at(name, start - 1) ^ '-' : 0;
}

static __always_inline bool owner_is_pod(const struct owner_name *name, __u32 stem, __u32 uid)
{
	__u32 start = stem - uid - 3;

	if (stem < uid + 3)
		return false;
	return !((owner_at(name, start) ^ 'p') | (owner_at(name, start + 1) ^ 'o') | (owner_at(name, start + 2) ^ 'd') |
		 owner_joined(name, start));
}

static __always_inline bool owner_is_container(const struct owner_name *name, __u32 stem)
{
	__u32 start = stem - CONTAINER_ID, strange;

	if (stem < CONTAINER_ID)
		return false;
	strange = owner_joined(name, start);
	for (__u32 index = 0; index < CONTAINER_ID; index++) {
		__u32 digit = (__u8)owner_at(name, start + index);

		/* Negative where it is above 9, and above f, counted from 0 and from a. */
		strange |= ((9 - (__u8)(digit - '0')) & (5 - (__u8)(digit - 'a'))) >> 31;
	}
	return !strange;
}

/* What a folder of this name may be: an enum owner_kind. A global function, so that the verifier looks at it once. */
__noinline int owner_kind_of(const struct owner_name *name, __u32 length)
{
	__u32 stem = length;

	if (!name)
		return OWNER_NONE;
	/* `.scope` and `.slice`: the point, an `s` and an `e` are enough. */
	if (length > 6 && !((owner_at(name, length - 6) ^ '.') | (owner_at(name, length - 5) ^ 's') |
			    (owner_at(name, length - 1) ^ 'e')))
		stem -= 6;
	if (owner_is_container(name, stem))
		return OWNER_CONTAINER;
	if (owner_is_pod(name, stem, POD_UID) || owner_is_pod(name, stem, STATIC_POD_UID))
		return OWNER_POD;
	return OWNER_NONE;
}

/* Length of the name, 0 where it cannot be read. */
static __always_inline __u32 owner_read_name(struct owner_name *target, const struct kernfs_node *folder)
{
	const char *name = BPF_CORE_READ(folder, name);
	long size = bpf_probe_read_kernel_str(target->text, OWNER_NAME, name);

	return size > 0 && size <= OWNER_NAME ? size - 1 : 0;
}

static __always_inline const struct kernfs_node *owner_parent(const struct kernfs_node *folder)
{
	const struct kernfs_node___before_6_15 *old = (const void *)folder;

	if (bpf_core_field_exists(folder->__parent))
		return BPF_CORE_READ(folder, __parent);
	return BPF_CORE_READ(old, parent);
}

/* A step from a folder to the one it is in: the body of a bpf_loop() callback. */
static long owner_step_up(__u64 level, struct owner_search *search)
{
	__u32 zero = 0;
	struct owner_names *names = bpf_map_lookup_elem(&owner_scratch, &zero);
	const struct kernfs_node *folder = search->folder, *parent = owner_parent(folder);
	int kind;

	/* The root is nobody's. */
	if (!names || !parent)
		return 1;
	kind = owner_kind_of(&names->container, owner_read_name(&names->container, folder));
	if (kind == OWNER_NONE) {
		search->folder = parent;
		return 0;
	}
	search->found = true;
	if (kind == OWNER_POD) {
		names->container.text[0] = 0;
		parent = folder;
	}
	if (owner_kind_of(&names->pod, owner_read_name(&names->pod, parent)) != OWNER_POD)
		names->pod.text[0] = 0;
	return 1;
}

static __always_inline bool owner_search_cgroup(struct owner_search *search, const struct cgroup *cgroup)
{
	search->folder = BPF_CORE_READ(cgroup, kn);
	/* Controllers that are mounted together, or all in v2, share a folder. */
	if (!search->folder || search->folder == search->seen)
		return false;
	search->seen = search->folder;
	bpf_loop(OWNER_LEVELS, owner_step_up, search, 0);
	return search->found;
}

static long owner_search_subsystem(__u64 index, struct owner_search *search)
{
	struct cgroup_subsys_state *subsystem = NULL;
	const void *place = (const void *)search->set + bpf_core_field_offset(struct css_set, subsys);

	if (bpf_probe_read_kernel(&subsystem, sizeof(subsystem), place + index * sizeof(subsystem)) || !subsystem)
		return 0;
	return owner_search_cgroup(search, BPF_CORE_READ(subsystem, cgroup));
}

/* Leaves the names in the scratch; returns whether it found any. Global for the same reason. */
__noinline int owner_search_task(__u64 address)
{
	const struct task_struct *task = (const void *)address;
	const struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct owner_search search = {.set = set};
	__u32 subsystems = bpf_core_field_size(set->subsys) / sizeof(void *);

	if (subsystems > OWNER_SUBSYSTEMS)
		subsystems = OWNER_SUBSYSTEMS;
	if (!owner_search_cgroup(&search, BPF_CORE_READ(set, dfl_cgrp)))
		bpf_loop(subsystems, owner_search_subsystem, &search, 0);
	return search.found;
}

/* Valid until the next call on this CPU; NULL where it is nobody's. */
static __always_inline const struct owner_names *owner_find(__u64 task)
{
	__u32 zero = 0;

	return owner_search_task(task) ? bpf_map_lookup_elem(&owner_scratch, &zero) : NULL;
}
