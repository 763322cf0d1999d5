// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "kernel.h"
#include "shared.bpf.h"
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

/*
 * Finds the owner of a process from its cgroup path, in which some directories are named after a Pod or a container. If
 * several directories match a Pod, the outermost one is used because processes of the Pod may have created the others.
 * src/pods/cgroup.ts applies the same rules to paths in /proc.
 *
 * Must be called under rcu_read_lock(), which keeps the task's cgroups and their directory names alive.
 */
#define OWNER_NAME 256 /* maximum bytes of a directory name, including the NUL */
#define OWNER_LEVELS 256 /* maximum depth of the search; before 6.1, deeper cgroups have no owner */
#define OWNER_SUBSYSTEMS 16 /* maximum number of controllers; Linux 6.18 has 15 */
#define OWNER_RUNTIME 24 /* maximum characters between the colons of `….slice:cri-containerd:<id>`, plus one */

/* Lengths of the IDs in directory names. */
enum owner_length {
	CONTAINER_ID = 64, /* hexadecimal digits */
	POD_UID = 36,
	STATIC_POD_UID = 32, /* hash of the Pod's manifest */
};

SHARED_ENUM(owner_length);

struct owner_name {
	char text[OWNER_NAME];
};

/* Names of the directories that were found; the others are empty. */
struct owner_names {
	struct owner_name container; /* outermost container in the Pod, or outermost of all if there is no Pod */
	struct owner_name pod; /* outermost Pod */
	struct owner_name outer; /* directory around the Pod: outermost container, user.slice or machine.slice */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct owner_names);
} owner_scratch SEC(".maps");

/* Name of the directory that is being examined. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__uint(value_size, OWNER_NAME);
} owner_current SEC(".maps");

struct owner_search {
	const struct css_set *set, *base;
	const struct kernfs_node *folder, *root, *seen;
	__u64 owner; /* kernfs ID of the Pod's directory, or of the container's if there is no Pod */
	bool is_whole; /* true once the search has reached the root */
};

enum owner_kind { OWNER_NONE, OWNER_CONTAINER, OWNER_POD };

static __always_inline char owner_at(const struct owner_name *name, __u32 index)
{
	return name->text[index & (OWNER_NAME - 1)];
}

/*
 * Returns 1 if the character equals `wanted`, otherwise 0. Branchless because the verifier would explore each branch.
 */
static __always_inline __u32 owner_is(const struct owner_name *name, __u32 index, char wanted)
{
	__u32 difference = (__u8)(owner_at(name, index) ^ wanted);

	return (difference - 1) >> 31;
}

/* The functions owner_not_…() return 0 on a match. They combine mismatches with `|` to avoid branches. */
static __always_inline __u32 owner_not_digits(const struct owner_name *name, __u32 start, __u32 count)
{
	__u32 strange = 0;

	for (__u32 index = 0; index < count; index++) {
		__u32 digit = (__u8)owner_at(name, start + index);

		/* Nonzero only if the character is neither 0 to 9 (first difference) nor a to f (second difference). */
		strange |= ((9 - (__u8)(digit - '0')) & (5 - (__u8)(digit - 'a'))) >> 31;
	}
	return strange;
}

/*
 * Accepts an underscore as well: in slice names, the kubelet replaces each dash of a UID with an underscore because
 * systemd uses dashes to separate the levels of a slice.
 */
static __always_inline __u32 owner_not_dash(const struct owner_name *name, __u32 index)
{
	return (owner_is(name, index, '-') | owner_is(name, index, '_')) ^ 1;
}

/* Returns 0 only if `start` is preceded by `pod`, which must be at the beginning of the name or after a `-`. */
static __always_inline __u32 owner_not_pod(const struct owner_name *name, __u32 start)
{
	__u32 before = start > 3 ? owner_at(name, start - 4) ^ '-' : 0;

	return before | (owner_at(name, start - 3) ^ 'p') | (owner_at(name, start - 2) ^ 'o') |
	       (owner_at(name, start - 1) ^ 'd');
}

/* Global functions, so that the verifier checks each one separately instead of all combinations of their paths. */
__noinline int owner_is_pod(const struct owner_name *name, __u32 stem)
{
	__u32 start = stem - POD_UID;

	if (!name || stem < POD_UID + 3)
		return 0;
	return !(owner_not_pod(name, start) | owner_not_digits(name, start, 8) | owner_not_dash(name, start + 8) |
		 owner_not_digits(name, start + 9, 4) | owner_not_dash(name, start + 13) |
		 owner_not_digits(name, start + 14, 4) | owner_not_dash(name, start + 18) |
		 owner_not_digits(name, start + 19, 4) | owner_not_dash(name, start + 23) |
		 owner_not_digits(name, start + 24, 12));
}

__noinline int owner_is_static_pod(const struct owner_name *name, __u32 stem)
{
	__u32 start = stem - STATIC_POD_UID;

	if (!name || stem < STATIC_POD_UID + 3)
		return 0;
	return !(owner_not_pod(name, start) | owner_not_digits(name, start, STATIC_POD_UID));
}

/* The ID may be the whole name, or the part after a `-`, `_` or `:`. */
__noinline int owner_is_container(const struct owner_name *name, __u32 stem)
{
	__u32 start = stem - CONTAINER_ID, joined = 1;

	if (!name || stem < CONTAINER_ID)
		return 0;
	if (start)
		joined = owner_is(name, start - 1, '-') | owner_is(name, start - 1, '_') |
			 owner_is(name, start - 1, ':');
	return !(owner_not_digits(name, start, CONTAINER_ID) | (joined ^ 1));
}

/* Returns the length of the name without a suffix `.slice` or `.scope`. @param second second letter of the suffix */
static __always_inline __u32 owner_stem(const struct owner_name *name, __u32 length, char second)
{
	if (length > 6 && !((owner_at(name, length - 6) ^ '.') | (owner_at(name, length - 5) ^ 's') |
			    (owner_at(name, length - 4) ^ second) | (owner_at(name, length - 1) ^ 'e')))
		return length - 6;
	return length;
}

/*
 * Returns the length of the slice in a name such as `<slice>:<runtime>:<id>`; 0 for other names. A runtime that uses
 * the cgroupfs driver creates such directories if the kubelet uses the systemd driver.
 */
__noinline int owner_joined_slice(const struct owner_name *name, __u32 length)
{
	__u32 end = length - CONTAINER_ID - 1, place = 0;

	if (!name || length < CONTAINER_ID + OWNER_RUNTIME + 1 || owner_at(name, end) != ':')
		return 0;
	/* Searches towards `end`, so that the last colon found is the nearest one. */
	for (__u32 index = OWNER_RUNTIME; index; index--) {
		__u32 is_colon = owner_is(name, end - index, ':');

		place += is_colon * (end - index - place);
	}
	return place;
}

/*
 * Returns the enum owner_kind that a directory's name suggests. Inlined because the stacks of nested calls are limited
 * to 512 bytes in total, at least up to 6.1.
 */
static __always_inline int owner_kind_of(const struct owner_name *name, __u32 length)
{
	__u32 slice = owner_joined_slice(name, length);

	if (!slice || owner_stem(name, slice, 'l') == slice)
		slice = length;
	slice = owner_stem(name, slice, 'l');
	if (owner_is_pod(name, slice) || owner_is_static_pod(name, slice))
		return OWNER_POD;
	return owner_is_container(name, owner_stem(name, length, 'c')) ? OWNER_CONTAINER : OWNER_NONE;
}

static __always_inline __u32 owner_is_not(const struct owner_name *name, const char *text, __u32 size)
{
	__u32 difference = 0;

#pragma unroll
	for (__u32 index = 0; index < size; index++)
		difference |= owner_at(name, index) ^ text[index];
	return difference;
}

/*
 * Returns whether the name is `user.slice` or `machine.slice`. Users and virtual machines can create cgroups of any
 * name in them.
 */
static __always_inline bool owner_is_handed_out(const struct owner_name *name)
{
	return !owner_is_not(name, "user.slice", sizeof("user.slice")) ||
	       !owner_is_not(name, "machine.slice", sizeof("machine.slice"));
}

/* Returns the length of the name; 0 if it cannot be read. */
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

static __always_inline void owner_copy(struct owner_name *to, const struct owner_name *from)
{
	bpf_probe_read_kernel(to, sizeof(*to), from);
}

/* Stores the name of a Pod's directory, which is closer to the root than all directories found so far. */
static __always_inline void owner_take_pod(struct owner_names *names, const struct owner_name *name)
{
	/* The container found around the previous Pod is inside this Pod. */
	if (names->outer.text[0])
		owner_copy(&names->container, &names->outer);
	names->outer.text[0] = 0;
	owner_copy(&names->pod, name);
}

/* Moves from a directory to its parent. Used as a bpf_loop() callback. */
static long owner_step_up(__u64 level, struct owner_search *search)
{
	__u32 zero = 0;
	struct owner_names *names = bpf_map_lookup_elem(&owner_scratch, &zero);
	struct owner_name *name = bpf_map_lookup_elem(&owner_current, &zero);
	const struct kernfs_node *folder = search->folder, *parent = owner_parent(folder);
	int kind;

	if (!names || !name)
		return 1;
	/* The root has no owner. */
	if (!parent || folder == search->root) {
		search->is_whole = true;
		return 1;
	}
	search->folder = parent;
	kind = owner_kind_of(name, owner_read_name(name, folder));
	if (kind == OWNER_POD) {
		owner_take_pod(names, name);
		search->owner = BPF_CORE_READ(folder, id);
	} else if (kind == OWNER_CONTAINER && names->pod.text[0]) {
		owner_copy(&names->outer, name);
	} else if (kind == OWNER_CONTAINER) {
		owner_copy(&names->container, name);
		search->owner = BPF_CORE_READ(folder, id);
	} else if (names->pod.text[0] && !names->outer.text[0] && owner_is_handed_out(name) &&
		   (parent == search->root || !owner_parent(parent))) {
		owner_copy(&names->outer, name);
	}
	return 0;
}

/*
 * Returns the kernfs node of a cgroup, or NULL. If the cgroup is too deep for the search, returns an ancestor's node.
 */
static __always_inline const struct kernfs_node *owner_folder(const struct cgroup *cgroup)
{
	const void *place = (const void *)cgroup + (OWNER_LEVELS - 1) * sizeof(cgroup);
	const struct cgroup *outer = NULL;

	if (!cgroup)
		return NULL;
	if (bpf_core_field_exists(cgroup->ancestors) && BPF_CORE_READ(cgroup, level) >= OWNER_LEVELS &&
	    !bpf_probe_read_kernel(&outer, sizeof(outer), place + bpf_core_field_offset(struct cgroup, ancestors)))
		cgroup = outer;
	return cgroup ? BPF_CORE_READ(cgroup, kn) : NULL;
}

static __always_inline bool owner_search_folder(struct owner_search *search, const struct kernfs_node *folder,
						const struct kernfs_node *base)
{
	__u32 zero = 0;
	struct owner_names *names = bpf_map_lookup_elem(&owner_scratch, &zero);

	/* Controllers that are mounted together, or are all in v2, share a directory. It is searched only once. */
	if (!names || !folder || folder == search->seen)
		return false;
	search->folder = search->seen = folder;
	search->root = base;
	search->owner = 0;
	search->is_whole = false;
	names->container.text[0] = names->pod.text[0] = names->outer.text[0] = 0;
	bpf_loop(OWNER_LEVELS, owner_step_up, search, 0);
	if (!search->is_whole)
		search->owner = 0;
	return search->owner;
}

static __always_inline const struct kernfs_node *owner_folder_of(const struct css_set *set, __u64 index)
{
	struct cgroup_subsys_state *subsystem = NULL;
	const void *place = (const void *)set + bpf_core_field_offset(struct css_set, subsys);

	if (!set || bpf_probe_read_kernel(&subsystem, sizeof(subsystem), place + index * sizeof(subsystem)) ||
	    !subsystem)
		return NULL;
	return owner_folder(BPF_CORE_READ(subsystem, cgroup));
}

static long owner_search_subsystem(__u64 index, struct owner_search *search)
{
	return owner_search_folder(search, owner_folder_of(search->set, index), owner_folder_of(search->base, index));
}

/*
 * Returns the address of the css_set with the cgroups that the init process of a PID namespace sees as roots. If the
 * node itself is a container, the cgroups above them do not belong to the node.
 */
static __always_inline __u64 owner_base(const struct pid_namespace *pids)
{
	return (__u64)BPF_CORE_READ(pids, child_reaper, nsproxy, cgroup_ns, root_cset);
}

/*
 * Stores the names in owner_scratch. Returns the ID of the owner's directory; 0 if there is no owner. A global
 * function, so that the verifier checks it only once.
 */
__noinline __u64 owner_search_task(__u64 address, __u64 base)
{
	const struct task_struct *task = (const void *)address;
	struct owner_search search = {.set = BPF_CORE_READ(task, cgroups), .base = (const void *)base};
	const struct css_set *set = search.set, *root = search.base;
	__u32 subsystems = bpf_core_field_size(set->subsys) / sizeof(void *);

	if (subsystems > OWNER_SUBSYSTEMS)
		subsystems = OWNER_SUBSYSTEMS;
	if (!owner_search_folder(&search, owner_folder(BPF_CORE_READ(set, dfl_cgrp)),
				 base ? owner_folder(BPF_CORE_READ(root, dfl_cgrp)) : NULL))
		bpf_loop(subsystems, owner_search_subsystem, &search, 0);
	return search.owner;
}

/* Returns the names found by the last search on this CPU. */
static __always_inline const struct owner_names *owner_found(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&owner_scratch, &zero);
}
