/* One line about a decision: name=value, and no value can end it or look like the next one. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_CTL_LINE_H
#define SEKISHO_CTL_LINE_H

#include <stdint.h>
#include <stdio.h>

#include "core/facts.h"

/* " name=value", "-" where there is none; whole is the octets it had, 0 = as many as are there. */
void line_text(FILE *to, const char *name, const struct text *text, uint32_t whole);
/* The same of a word of ours. */
void line_name(FILE *to, const char *name, const char *value);

#endif
