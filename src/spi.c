/*
 * spi.c
 *		Running SQL.
 *
 * Copyright (c) 2026, fflag contributors
 */
#include "postgres.h"

#include "executor/spi.h"

#include "spi.h"

/*
 * Runs one command, which may write, as the caller.  SPI must be connected.
 * Returns how many rows it processed; those returned are in SPI_tuptable.
 * Throws what the command does.
 */
uint64
fflag_run(const char *command, int nargs, Oid *types, Datum *values)
{
	int			rc = SPI_execute_with_args(command, nargs, types, values, NULL,
										   false, 0);

	if (rc < 0)
		elog(ERROR, "SPI_execute_with_args failed: %s",
			 SPI_result_code_string(rc));
	return SPI_processed;
}
