/* What decisions are asked for: the options that log and replay share. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_CTL_FILTER_H
#define SEKISHO_CTL_FILTER_H

#include "ctl.h"
#include "store/statedb_log.h"

struct filter {
    struct statedb_filter asked;
    char client[RANGE_TEXT]; /* where asked.client points to */
};

/* Takes the value of --since, --until, --client, --login, --from, --to, --reason, --action or
 * --number, by its letter (s u c l f t r a n); value must live on. Returns what is wrong with it,
 * or NULL. */
const char *filter_option(const struct ctl *ctl, struct filter *filter, int letter,
                          const char *value);

#endif
