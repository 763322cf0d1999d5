// SPDX-License-Identifier: Apache-2.0
/*
 * requests NETNS ADDRESS PORT KIND CONNECTIONS COUNT RATE
 *
 * Sends COUNT requests from NETNS, one at a time on each of CONNECTIONS connections, and reads the answers. KIND is
 *   kept      HTTP/1.1 with 40 bytes of headers, on connections that are kept open
 *   browser   the same with 850 bytes of headers, the last of which is `traceparent`
 *   short     HTTP/1.1, with a new connection for each request
 *   download  HTTP/1.1, for a file of 10 MB
 *   redis     GET of Redis
 * With RATE 0, requests are sent as fast as possible, otherwise at RATE per second. Prints the elapsed time and the CPU
 * time of this process in nanoseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "netns.h"

#define CONNECTIONS_MAX 512
struct connection {
	int sock;
	long left; /* bytes of the answer */
	bool is_sent; /* waits for the answer */
};

static struct sockaddr_in to;
static char request[1024];
static size_t request_bytes;
static long answer_bytes; /* constant, because the server's answers differ only in their date */
static bool is_short;
static int poller;
static long sent, answered, count, connections;
static struct connection all[CONNECTIONS_MAX];
static char buffer[1 << 20];

static long now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * 1000000000L + time.tv_nsec;
}

static void compose(const char *kind)
{
	const char *path = strcmp(kind, "download") ? "/small" : "/download";
	char headers[900] = "";

	if (!strcmp(kind, "redis")) {
		request_bytes = sprintf(request, "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
		return;
	}
	if (!strcmp(kind, "browser"))
		sprintf(headers,
			"User-Agent: %0200d\r\nAccept: %0150d\r\nCookie: %0300d\r\n"
			"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n",
			1, 2, 3);
	is_short = !strcmp(kind, "short");
	request_bytes = sprintf(request, "GET %s HTTP/1.1\r\nHost: b\r\n%s%s\r\n", path, headers,
				is_short ? "Connection: close\r\n" : "");
}

static int connect_to(int flags)
{
	int one = 1, sock = socket(AF_INET, SOCK_STREAM | flags, 0);

	if (sock < 0 || setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		err(1, "socket");
	if (connect(sock, (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS)
		err(1, "connect");
	return sock;
}

/* Sends a request, and returns the length of its answer. */
static long learn(bool is_redis)
{
	long got = 0, bytes;
	int sock = connect_to(0);
	char *end, *length;

	if (write(sock, request, request_bytes) != (ssize_t)request_bytes)
		err(1, "write");
	for (;;) {
		bytes = read(sock, buffer + got, sizeof(buffer) - 1 - got);
		if (bytes <= 0)
			errx(1, "no answer");
		got += bytes;
		buffer[got] = 0;
		end = strstr(buffer, is_redis ? "\r\n" : "\r\n\r\n");
		if (end)
			break;
	}
	close(sock);
	length = is_redis ? buffer + 1 : strstr(buffer, "Content-Length: ") + strlen("Content-Length: ");
	return is_redis ? end + 2 - buffer + atol(length) + 2 : end + 4 - buffer + atol(length);
}

static void send_request(struct connection *connection)
{
	if (write(connection->sock, request, request_bytes) != (ssize_t)request_bytes)
		err(1, "write");
	connection->left = answer_bytes;
	connection->is_sent = true;
}

/* Begins a request. A new connection sends it as soon as it is established. */
static void begin(struct connection *connection)
{
	sent++;
	if (is_short) {
		struct epoll_event event = {.events = EPOLLOUT, .data.ptr = connection};

		connection->sock = connect_to(SOCK_NONBLOCK);
		if (epoll_ctl(poller, EPOLL_CTL_ADD, connection->sock, &event))
			err(1, "epoll_ctl");
		connection->left = answer_bytes;
		connection->is_sent = true;
		return;
	}
	send_request(connection);
}

/* Returns whether the answer is complete. */
static bool handle(struct connection *connection, unsigned int events)
{
	ssize_t bytes;

	if (is_short && events & EPOLLOUT) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};

		send_request(connection);
		if (epoll_ctl(poller, EPOLL_CTL_MOD, connection->sock, &event))
			err(1, "epoll_ctl");
		return false;
	}
	bytes = read(connection->sock, buffer, sizeof(buffer));
	if (bytes < 0 && errno == EAGAIN)
		return false;
	if (bytes < 0 || (bytes == 0 && (!is_short || connection->left > 0)))
		err(1, "read");
	connection->left -= bytes;
	if (is_short ? bytes > 0 : connection->left > 0)
		return false;
	if (is_short)
		close(connection->sock);
	connection->is_sent = false;
	answered++;
	return true;
}

/* Begins as many requests as are due, and returns the milliseconds until the next ones are. */
static int pace(long start, long rate)
{
	long due = rate ? (now(CLOCK_MONOTONIC) - start) * rate / 1000000000L : count;

	for (long i = 0; i < connections && sent < due && sent < count; i++) {
		if (!all[i].is_sent)
			begin(&all[i]);
	}
	return rate ? 1 : -1;
}

int main(int argc, char **argv)
{
	struct epoll_event events[CONNECTIONS_MAX];
	long start, rate;

	if (argc != 8)
		errx(2, "seven arguments");
	connections = atol(argv[5]);
	count = atol(argv[6]);
	rate = atol(argv[7]);
	if (connections > CONNECTIONS_MAX)
		errx(2, "too many connections");
	enter(argv[1]);
	to.sin_family = AF_INET;
	to.sin_port = htons(atoi(argv[3]));
	inet_pton(AF_INET, argv[2], &to.sin_addr);
	compose(argv[4]);
	answer_bytes = learn(!strcmp(argv[4], "redis"));
	poller = epoll_create1(0);
	for (long i = 0; !is_short && i < connections; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};

		all[i].sock = connect_to(0);
		if (epoll_ctl(poller, EPOLL_CTL_ADD, all[i].sock, &event))
			err(1, "epoll_ctl");
	}
	start = now(CLOCK_MONOTONIC);
	while (answered < count) {
		int ready = epoll_wait(poller, events, CONNECTIONS_MAX, pace(start, rate));

		for (int i = 0; i < ready; i++) {
			struct connection *connection = events[i].data.ptr;

			if (handle(connection, events[i].events) && !rate && sent < count)
				begin(connection);
		}
	}
	printf("%ld %ld\n", now(CLOCK_MONOTONIC) - start, now(CLOCK_PROCESS_CPUTIME_ID));
	return 0;
}
