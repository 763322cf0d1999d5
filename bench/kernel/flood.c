// SPDX-License-Identifier: Apache-2.0
/*
 * flood NETNS_A NETNS_B ADDRESS_B PORT PACKETS READ
 *
 * Sends datagrams of 32 bytes in batches from NETNS_A to NETNS_B, on one CPU. With READ 1, a socket
 * receives each batch; otherwise no socket listens on the port. Prints nanoseconds per packet.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64

static int open_socket(const char *netns)
{
	char path[256];
	int fd, sock;

	snprintf(path, sizeof(path), "/run/netns/%s", netns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		err(1, "%s", path);
	close(fd);
	sock = socket(AF_INET, SOCK_DGRAM, 0);
	if (sock < 0)
		err(1, "socket");
	return sock;
}

int main(int argc, char **argv)
{
	static char bytes[BATCH][32];
	struct mmsghdr messages[BATCH];
	struct iovec vectors[BATCH];
	struct sockaddr_in to = {.sin_family = AF_INET};
	struct timespec start, end;
	int sender, receiver, reads;
	cpu_set_t cpus;
	long packets;

	if (argc != 7)
		errx(2, "six arguments");
	packets = atol(argv[5]);
	reads = atoi(argv[6]);
	to.sin_port = htons(atoi(argv[4]));
	inet_pton(AF_INET, argv[3], &to.sin_addr);
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	receiver = open_socket(argv[2]);
	if (reads && bind(receiver, (struct sockaddr *)&to, sizeof(to)))
		err(1, "bind");
	sender = open_socket(argv[1]);
	memset(messages, 0, sizeof(messages));
	for (int i = 0; i < BATCH; i++) {
		vectors[i] = (struct iovec){.iov_base = bytes[i], .iov_len = sizeof(bytes[i])};
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (long sent = 0; sent < packets; sent += BATCH) {
		for (int i = 0; i < BATCH; i++) {
			messages[i].msg_hdr.msg_name = &to;
			messages[i].msg_hdr.msg_namelen = sizeof(to);
		}
		if (sendmmsg(sender, messages, BATCH, 0) != BATCH)
			err(1, "send");
		for (int i = 0; i < BATCH; i++)
			messages[i].msg_hdr.msg_name = NULL;
		if (reads && recvmmsg(receiver, messages, BATCH, MSG_DONTWAIT, NULL) != BATCH)
			errx(1, "packets were lost");
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%f\n", ((end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec)) / packets);
	return 0;
}
