/*
 * fault_malloc.c
 *		For LD_PRELOAD: malloc() and realloc() that fail once, on demand.
 *
 * Plain C without PostgreSQL headers, because every process that the server
 * starts loads it.  The server's memory contexts get their blocks from these.
 */
#include <errno.h>
#include <stddef.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_realloc(void *block, size_t size);

/* counts down to the allocation that fails; 0: none does */
long		fault_malloc_countdown = 0;

static int
fails(void)
{
	if (fault_malloc_countdown == 0 || --fault_malloc_countdown > 0)
		return 0;
	errno = ENOMEM;
	return 1;
}

void *
malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *
realloc(void *block, size_t size)
{
	return fails() ? NULL : __libc_realloc(block, size);
}
