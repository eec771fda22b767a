/* What the verbs of the tool share: the options in front of the verb, and the exit codes. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_CTL_H
#define SEKISHO_CTL_H

#include <stdbool.h>
#include <stdint.h>

#include "core/facts.h"
#include "core/status.h"

enum ctl_exit {
    CTL_YES = 0,          /* yes, done */
    CTL_NO = 1,           /* no, a finding */
    CTL_USAGE = 2,        /* wrong words, or a file that cannot be read or made */
    CTL_INVALID = 3,      /* the policy would not load */
    CTL_UNREACHABLE = 4   /* the daemon or its state cannot be reached */
};

struct ctl {
    const char *policy, *state;
    bool json;
    struct moment now; /* read once, in main.c */
};

/* A verb: argv[0] is its name. */
typedef int ctl_verb(const struct ctl *ctl, int argc, char **argv);

ctl_verb verb_init, verb_check;

/* Says a sentence on standard error, in JSON on standard output if that was asked for. Returns code. */
int ctl_fail(const struct ctl *ctl, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
