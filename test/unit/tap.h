/*
 * tap.h
 *		What the unit tests share: TAP, and random numbers that repeat.
 */
#ifndef TAP_H
#define TAP_H

#include <stdint.h>
#include <stdio.h>

static int	test_number = 0;
static int	failures = 0;

static void
ok(int passed, const char *what)
{
	printf("%sok %d - %s\n", passed ? "" : "not ", ++test_number, what);
	failures += !passed;
}

/* xorshift64 */
static inline uint64_t
random_bits(void)
{
	static uint64_t state = UINT64_C(88172645463325252);

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

#endif							/* TAP_H */
