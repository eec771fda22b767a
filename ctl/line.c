/* One line about a decision: name=value, and no value can end it or look like the next one. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "line.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "core/decision.h"

enum { VALUE = 4 * DECISION_TEXT + 64 };

void line_text(FILE *to, const char *name, const struct text *text, uint32_t whole)
{
    char shown[VALUE];

    if (text->bytes == NULL || text->size == 0) {
        fprintf(to, " %s=-", name);
        return;
    }
    printable_copy(shown, sizeof shown, text->bytes, text->size, DECISION_TEXT);
    bool quote = strchr(shown, ' ') != NULL || strcmp(shown, "-") == 0;
    fprintf(to, " %s=%s%s%s", name, quote ? "\"" : "", shown, quote ? "\"" : "");
    if (whole > text->size) {
        fprintf(to, "...[%" PRIu32 "]", whole);
    }
}

void line_name(FILE *to, const char *name, const char *value)
{
    fprintf(to, " %s=%s", name, value[0] != '\0' ? value : "-");
}
