/* The tables' own text, and the numbers that mark a file as ours. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_SCHEMA_H
#define SEKISHO_SCHEMA_H

enum {
    SCHEMA_APPLICATION_ID = 1397050185,       /* "SEKI" */
    SCHEMA_POLICY_VERSION = 1,                /* user_version of policy.db, and its version row */
    SCHEMA_STATE_APPLICATION_ID = 1397050195, /* "SEKS" */
    SCHEMA_STATE_VERSION = 1                  /* of state.db */
};

/* schema/policy.sql and schema/state.sql, ended by NUL; made by schema/embed.cmake. */
extern const char schema_policy_sql[];
extern const char schema_state_sql[];

#endif
