/* What the verbs of the tool share: sentences, JSON, times, the policy read from its file. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "core/jsonl.h"
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

/* JSON on a terminal: what steers it is written as \uNNNN, which only stands in strings. */
static void print_json(const char *text)
{
    size_t left = strlen(text), length;
    uint32_t character;

    while (left > 0) {
        size_t good = jsonl_steering(text, left, &character, &length);
        fwrite(text, 1, good, stdout);
        text += good;
        left -= good;
        if (left > 0 && character == '\n') {
            putchar('\n');
        } else if (left > 0) {
            printf("\\u%04x", (unsigned)character);
        }
        text += left > 0 ? length : 0;
        left -= left > 0 ? length : 0;
    }
    putchar('\n');
}

void ctl_print(json_t *answer)
{
    if (answer == NULL) {
        fprintf(stderr, "sekisho: no memory for the answer\n");
        return;
    }
    char *text = json_dumps(answer, JSON_INDENT(2));
    if (text == NULL) {
        fprintf(stderr, "sekisho: no memory for the answer\n");
    } else {
        print_json(text);
    }
    free(text);
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

enum { SPAN_MOST = 31536000 };

bool ctl_span_read(const char *text, int64_t *seconds)
{
    static const struct {
        char letter;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 8 || text[digits] == '\0' || text[digits + 1] != '\0') {
        return false;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (units[i].letter == text[digits]) {
            *seconds = strtoll(text, NULL, 10) * units[i].seconds;
            return *seconds > 0 && *seconds <= SPAN_MOST;
        }
    }
    return false;
}

const char *ctl_span_text(int64_t seconds, char to[CTL_SPAN])
{
    seconds = seconds > 0 ? seconds : 0;
    if (seconds >= 86400) {
        snprintf(to, CTL_SPAN, "%" PRId64 "d %" PRId64 "h", seconds / 86400,
                 seconds % 86400 / 3600);
    } else if (seconds >= 3600) {
        snprintf(to, CTL_SPAN, "%" PRId64 "h %" PRId64 "m", seconds / 3600, seconds % 3600 / 60);
    } else if (seconds >= 60) {
        snprintf(to, CTL_SPAN, "%" PRId64 "m %" PRId64 "s", seconds / 60, seconds % 60);
    } else {
        snprintf(to, CTL_SPAN, "%" PRId64 "s", seconds);
    }
    return to;
}

bool ctl_since_read(const struct ctl *ctl, const char *text, int64_t *wall)
{
    int64_t seconds;

    if (ctl_span_read(text, &seconds)) {
        *wall = ctl->now.wall - seconds * 1000;
        return true;
    }
    return ctl_time_read(text, wall);
}

bool ctl_number_read(const char *text, uint64_t *number)
{
    text += text[0] == '#';
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || text[digits] != '\0') {
        return false;
    }
    errno = 0;
    *number = strtoull(text, NULL, 10);
    return errno == 0 && *number > 0 && *number <= INT64_MAX;
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

/* -- the state ------------------------------------------------------------------------------ */

bool ctl_beside_state(const struct ctl *ctl, const char *name, char path[CTL_PATH])
{
    const char *slash = strrchr(ctl->state, '/');
    int folder = slash != NULL ? (int)(slash - ctl->state) + 1 : 0;

    return snprintf(path, CTL_PATH, "%.*s%s", folder, ctl->state, name) < CTL_PATH;
}

enum ctl_daemon ctl_daemon_look(const struct ctl *ctl, struct why *why)
{
    enum ctl_daemon daemon = CTL_DAEMON_UNKNOWN;
    char path[CTL_PATH];

    if (!ctl_beside_state(ctl, "lock", path)) {
        why_set(why, STATUS_BAD, "--state: the name is too long");
        return CTL_DAEMON_UNKNOWN;
    }
    int file = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0 && errno == ENOENT) {
        return CTL_DAEMON_NONE;
    }
    if (file < 0) {
        why_set(why, STATUS_BROKEN, "%s: %s", path, strerror(errno));
        return CTL_DAEMON_UNKNOWN;
    }
    if (flock(file, LOCK_SH | LOCK_NB) == 0) {
        daemon = CTL_DAEMON_NONE;
    } else if (errno == EWOULDBLOCK) {
        daemon = CTL_DAEMON_RUNS;
    } else {
        why_set(why, STATUS_BROKEN, "%s: %s", path, strerror(errno));
    }
    close(file);
    return daemon;
}

void ctl_pause(int milliseconds)
{
    struct timespec span = {milliseconds / 1000, milliseconds % 1000 * 1000000L};

    nanosleep(&span, NULL);
}

enum { POLL_MS = 50 };

enum ctl_asked ctl_ask(const struct ctl *ctl, struct statedb *db, struct statedb_request *request,
                       bool leave, struct why *why)
{
    enum ctl_daemon daemon = ctl_daemon_look(ctl, why);

    if (daemon == CTL_DAEMON_UNKNOWN) {
        return CTL_ASKED_FAILED;
    }
    if (daemon == CTL_DAEMON_NONE && !leave) {
        return CTL_ASKED_NO_DAEMON;
    }
    enum status status = statedb_ask(db, request, ctl->now.wall, why);
    if (status != STATUS_OK) {
        return CTL_ASKED_FAILED;
    }
    if (daemon == CTL_DAEMON_NONE) {
        return CTL_ASKED_NO_DAEMON;
    }
    for (int waited = 0; waited < CTL_WAIT_MS; waited += POLL_MS) {
        ctl_pause(POLL_MS);
        status = statedb_answer(db, request, why);
        if (status == STATUS_OK && request->answered) {
            return CTL_ASKED_ANSWERED;
        }
        if (status != STATUS_OK && status != STATUS_BUSY) {
            return CTL_ASKED_FAILED;
        }
    }
    if (statedb_take_back(db, request->id, why) != STATUS_OK) {
        return CTL_ASKED_FAILED;
    }
    /* Done between the last look and now: then it was not taken back. One that was is answered as
     * gone, not done. */
    if (statedb_answer(db, request, NULL) == STATUS_OK && request->answered && request->done) {
        return CTL_ASKED_ANSWERED;
    }
    return CTL_ASKED_SILENT;
}

int ctl_ask_print(const struct ctl *ctl, struct statedb_request *request, bool leave)
{
    char text[2048];
    struct statedb *db = NULL;
    struct why why = {""};
    enum status status = statedb_open(ctl->state, STATEDB_TOOL, CTL_WAIT_MS, &db, NULL, &why);

    if (status != STATUS_OK) {
        return ctl_fail(ctl, CTL_UNREACHABLE, "%s", why.text);
    }
    enum ctl_asked asked = ctl_ask(ctl, db, request, leave, &why);
    statedb_close(db);
    switch (asked) {
    case CTL_ASKED_ANSWERED:
        break;
    case CTL_ASKED_NO_DAEMON:
        return ctl_fail(ctl, CTL_UNREACHABLE, "no daemon runs with %s; %s", ctl->state,
                        leave ? "the request waits there and will be done when the daemon starts"
                              : "nothing was done");
    case CTL_ASKED_SILENT:
        return ctl_fail(ctl, CTL_UNREACHABLE,
                        "the daemon runs, but has not answered in %d seconds; the request was "
                        "taken back, nothing was done (sekisho status)",
                        CTL_WAIT_MS / 1000);
    case CTL_ASKED_FAILED:
        return ctl_fail(ctl, CTL_UNREACHABLE, "%s", why.text);
    }
    if (ctl->json) {
        ctl_print(json_pack("{s:b, s:s, s:o, s:o}", "ok", request->done, "verb", request->verb,
                            "subject", ctl_json_text(request->subject), "answer",
                            ctl_json_text(request->answer)));
    } else {
        fprintf(request->done ? stdout : stderr, "%s\n",
                ctl_plain(request->answer, text, sizeof text));
    }
    return request->done ? CTL_YES : CTL_NO;
}

/* -- a decision ----------------------------------------------------------------------------- */

size_t ctl_decision_line(const struct statedb_decision *stored, char to[DECISION_JSON])
{
    struct jsonl line;

    jsonl_begin(&line, to, DECISION_JSON);
    decision_json(&line, &stored->decision, stored->at,
                  stored->ended ? outcome_name(stored->decision.outcome) : "", DECISION_JSON_TEXT);
    return jsonl_end(&line);
}

json_t *ctl_json_decision(const struct statedb_decision *stored)
{
    char line[DECISION_JSON];
    size_t size = ctl_decision_line(stored, line);

    return size > 0 ? json_loadb(line, size, JSON_ALLOW_NUL, NULL) : NULL;
}
