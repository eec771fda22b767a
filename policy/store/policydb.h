/* policy.db: copied whole in one read transaction, then read and checked at leisure. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_POLICYDB_H
#define SEKISHO_POLICYDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/policy_build.h"
#include "core/status.h"
#include "core/verdict.h"

/* A private copy, in memory, of the database as it was at one moment. Owns its memory; the file is
 * closed and unlocked before policydb_open returns. */
struct policydb;

/* Copies the file. wait_ms: how long to wait for a lock that an editor holds. STATUS_BAD: this file
 * will not do (a symlink, a FIFO, empty, in WAL mode, no database, no sekisho policy, another
 * version, damaged). STATUS_BUSY: an editor holds the lock, or the file is not there; try again.
 * STATUS_BROKEN: memory, permission, I/O. */
enum status policydb_open(const char *path, int wait_ms, struct policydb **db, struct why *why);
void policydb_close(struct policydb *db);

struct sqlite3;
/* What the name stands for, before SQLite looks: as policydb_open says. */
enum status policydb_look(const char *path, struct why *why);
/* The database behind a connection of the caller's, uncommitted edits included; the connection
 * stays the caller's and outlives it. Looks as policydb_open does. */
enum status policydb_on(struct sqlite3 *connection, const char *path, struct policydb **db,
                        struct why *why);
/* For the other files of store/. */
struct sqlite3 *policydb_connection(struct policydb *db);

/* One bad row. row is 0 where the fault is the table's or the file's; the sentence begins with
 * table and row. */
struct policydb_fault {
    enum table table;
    int64_t row;
    const char *sentence;
};

/* Reads every table into a build. Each fault is told to `fault` (may be NULL); why is the first of
 * them. STATUS_OK: build is whole and the caller's to free. Otherwise build is NULL. */
enum status policydb_read(struct policydb *db,
                          void (*fault)(void *context, const struct policydb_fault *),
                          void *context, struct policy_build **build, struct why *why);

/* Writes the copy to a file of that name: beside it first, synced, then renamed over it. */
enum status policydb_keep(struct policydb *db, const char *path, struct why *why);

/* What `sekisho init` puts into a new policy. Texts are borrowed. */
struct policydb_start {
    const char *const *domains; /* ended by NULL, at least one */
    const char *host_name;      /* NULL = none */
};

/* Makes a new policy.db, closed and sensible (1.3), never over an existing file: it comes into
 * being under its name only when whole. STATUS_BAD: the name is taken, or a value is refused by a
 * CHECK, whose sentence why holds. */
enum status policydb_create(const char *path, const struct policydb_start *start, struct why *why);

/* The ids of a table's rows in ascending order, of ip_range those without source only: the
 * administrator's own. False from take: enough. */
enum status policydb_ids(struct policydb *db, enum table table,
                         bool (*take)(void *context, int64_t row), void *context, struct why *why);

#endif
