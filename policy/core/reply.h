/* What the client reads: reply code, enhanced status code and text. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_REPLY_H
#define SEKISHO_REPLY_H

#include <stddef.h>
#include <stdint.h>

#include "core/verdict.h"

/* RFC 5321 4.5.3.1.5 allows 512 octets a line, code and CRLF included. */
enum { REPLY_TEXT = 480 };

struct reply {
    const char *code;      /* "550" */
    const char *enhanced;  /* "5.7.1", RFC 3463; of the same class as the code */
    char text[REPLY_TEXT]; /* printable ASCII: `Relaying denied ... [sekisho relay-denied #4821]` */
};

/* The reply to a refusal or deferral. number is that of the decision, 0 = none, which is then not
 * shown; help_url is put at the end, "" = none. */
void reply_make(const struct verdict *verdict, uint64_t number, const char *help_url,
                struct reply *reply);

/* The text with every % doubled, as smfi_setreply wants it. */
void reply_double_percent(const char *text, char *to, size_t room);

#endif
