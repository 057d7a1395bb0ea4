/*
 * spi.h
 *		Running SQL.
 *
 * Copyright (c) 2026, fflag contributors
 */
#ifndef FFLAG_SPI_H
#define FFLAG_SPI_H

extern uint64 fflag_run(const char *command, int nargs, Oid *types,
						Datum *values);

#endif							/* FFLAG_SPI_H */
