// SPDX-License-Identifier: Apache-2.0
/*
 * paced
 *
 * Prints the system call number of getppid(). For each line `RATE MILLISECONDS` on stdin, calls getppid() RATE times a
 * second, evenly spaced, and prints the number of calls and their CPU time in nanoseconds.
 */
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NANOSECONDS 1000000000L
#define SLEEP_LEAST 1000000L

static long now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * NANOSECONDS + time.tv_nsec;
}

int main(void)
{
	long rate, milliseconds;

	printf("%ld\n", (long)SYS_getppid);
	fflush(stdout);
	while (scanf("%ld %ld", &rate, &milliseconds) == 2) {
		long start = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID), calls = 0, passed;
		long pause = rate > 0 && NANOSECONDS / rate > SLEEP_LEAST ? NANOSECONDS / rate : SLEEP_LEAST;

		for (long next = start; (passed = now(CLOCK_MONOTONIC) - start) < milliseconds * 1000000;
		     next += pause) {
			struct timespec until = {next / NANOSECONDS, next % NANOSECONDS};

			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
			for (long due = passed / 1000 * rate / 1000000; calls < due; calls++)
				syscall(SYS_getppid);
		}
		printf("%ld %ld\n", calls, now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
		fflush(stdout);
	}
	return 0;
}
