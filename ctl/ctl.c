/* What the verbs of the tool share: sentences, JSON, times, the policy read from its file. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/policy_seal.h"
int ctl_fail(const struct ctl *ctl, int code, const char *format, ...)
{
    char sentence[1024], shown[2048];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    if (ctl->json) {
        ctl_print(json_pack("{s:b, s:o}", "ok", 0, "error", ctl_json_text(sentence)));
    } else {
        fprintf(stderr, "sekisho: %s\n", ctl_plain(sentence, shown, sizeof shown));
    }
    return code;
}

void ctl_print(json_t *answer)
{
    if (answer == NULL) {
        fprintf(stderr, "sekisho: no memory for the answer\n");
        return;
    }
    json_dumpf(answer, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(answer);
}

const char *ctl_plain(const char *text, char *to, size_t room)
{
    static const char digits[] = "0123456789abcdef";
    size_t used = 0;

    for (; *text != '\0' && used + 5 <= room; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte >= 0x20 && byte < 0x7f) {
            to[used++] = (char)byte;
        } else {
            to[used++] = '\\';
            to[used++] = 'x';
            to[used++] = digits[byte >> 4];
            to[used++] = digits[byte & 15];
        }
    }
    to[used] = '\0';
    return to;
}

json_t *ctl_json_text(const char *text)
{
    char plain[4096];
    json_t *string = json_string(text);

    return string != NULL ? string : json_string(ctl_plain(text, plain, sizeof plain));
}

json_t *ctl_json_rule(const struct policy *policy, struct rule rule)
{
    char text[RULE_TEXT];

    if (rule.table == TABLE_NONE) {
        return json_null();
    }
    return json_pack("{s:s, s:I, s:s}", "table", table_name(rule.table), "row",
                     (json_int_t)rule.row, "text", policy_rule_text(policy, rule, text));
}

const char *ctl_time_text(int64_t wall, char to[CTL_TIME])
{
    time_t seconds = (time_t)(wall / 1000);
    struct tm parts;

    to[0] = '\0';
    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(to, CTL_TIME, "%Y-%m-%d %H:%M:%S", &parts) == 0) {
        snprintf(to, CTL_TIME, "?");
    }
    return to;
}

bool ctl_time_read(const char *text, int64_t *wall)
{
    char plain[CTL_TIME], again[CTL_TIME];
    struct tm parts;
    size_t size = strlen(text);

    if (size == 20 && text[10] == 'T' && text[19] == 'Z') {
        size = 19;
    } else if (size != 19 || text[10] != ' ') {
        return false;
    }
    memcpy(plain, text, size);
    plain[size] = '\0';
    plain[10] = ' ';
    memset(&parts, 0, sizeof parts);
    const char *end = strptime(plain, "%Y-%m-%d %H:%M:%S", &parts);
    if (end == NULL || *end != '\0') {
        return false;
    }
    *wall = (int64_t)timegm(&parts) * 1000;
    /* 2026-02-30 and the like come back as another day */
    return strcmp(ctl_time_text(*wall, again), plain) == 0;
}

enum status ctl_policy_open(const char *path, int64_t wall, struct ctl_policy *opened,
                            struct why *why)
{
    struct policy_build *build = NULL;
    enum status status;

    *opened = (struct ctl_policy){NULL, NULL};
    status = policydb_open(path, CTL_WAIT_MS, &opened->db, why);
    if (status == STATUS_OK) {
        status = policydb_read(opened->db, NULL, NULL, &build, why);
    }
    if (status == STATUS_OK) {
        status = policy_seal(build, wall, &opened->policy, why);
    }
    if (status != STATUS_OK) {
        ctl_policy_close(opened);
    }
    policy_build_free(build);
    return status;
}

void ctl_policy_close(struct ctl_policy *opened)
{
    policy_free(opened->policy);
    policydb_close(opened->db);
    *opened = (struct ctl_policy){NULL, NULL};
}

int ctl_exit_of(enum status status)
{
    return status == STATUS_OK ? CTL_YES : status == STATUS_BAD ? CTL_INVALID : CTL_UNREACHABLE;
}
