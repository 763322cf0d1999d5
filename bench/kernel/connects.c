// SPDX-License-Identifier: Apache-2.0
/*
 * connects NETNS_A NETNS_B ADDRESS_B PORT CONNECTIONS PROCESSES
 *
 * Opens and closes TCP connections from NETNS_A to NETNS_B one after another in each process. Each process runs on its
 * own CPU. A connection carries 100 bytes to the server, and the client closes first. The connections alternate between
 * four ports so that ports in TIME_WAIT do not run out. Prints the elapsed time in nanoseconds, divided by the number
 * of connections of all processes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "netns.h"

#define PORTS 4
#define BACKLOG 16

static int listen_at(const struct sockaddr_in *address)
{
	int one = 1, sock = socket(AF_INET, SOCK_STREAM, 0);

	if (sock < 0 || setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(sock, (const struct sockaddr *)address, sizeof(*address)) || listen(sock, BACKLOG))
		err(1, "listen");
	return sock;
}

/* The processes share the listeners, so accept() may return a connection that another process has opened. */
static void exchange(int listener, const struct sockaddr_in *to)
{
	char bytes[100] = {0};
	int server, client = socket(AF_INET, SOCK_STREAM, 0);

	if (client < 0 || connect(client, (const struct sockaddr *)to, sizeof(*to)))
		err(1, "connect");
	server = accept(listener, NULL, NULL);
	if (server < 0 || send(client, bytes, sizeof(bytes), 0) != sizeof(bytes) ||
	    recv(server, bytes, sizeof(bytes), MSG_WAITALL) != sizeof(bytes))
		err(1, "exchange");
	close(client);
	if (recv(server, bytes, sizeof(bytes), 0) != 0)
		errx(1, "no end");
	close(server);
}

static void play(const int *listeners, const struct sockaddr_in *to, long connections, int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	for (long nth = 0; nth < connections; nth++)
		exchange(listeners[nth % PORTS], &to[nth % PORTS]);
}

int main(int argc, char **argv)
{
	struct sockaddr_in to[PORTS] = {0};
	struct timespec start, end;
	int listeners[PORTS], processes, status;
	long connections;

	if (argc != 7)
		errx(2, "six arguments");
	connections = atol(argv[5]);
	processes = atoi(argv[6]);
	enter(argv[2]);
	for (int i = 0; i < PORTS; i++) {
		to[i].sin_family = AF_INET;
		to[i].sin_port = htons(atoi(argv[4]) + i);
		inet_pton(AF_INET, argv[3], &to[i].sin_addr);
		listeners[i] = listen_at(&to[i]);
	}
	enter(argv[1]);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (int cpu = 0; cpu < processes; cpu++) {
		if (fork() != 0)
			continue;
		play(listeners, to, connections, cpu);
		_exit(0);
	}
	for (int nth = 0; nth < processes; nth++) {
		if (wait(&status) < 0 || status)
			errx(1, "a process failed");
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%f\n", ((end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec)) / (connections * processes));
	return 0;
}
