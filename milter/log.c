/* The log: one line a decision, every field escaped, to syslog or standard error. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

/* At most so many octets of a text from outside are shown, and its length where it was longer. */
enum { SHOWN = 320, SHOWN_ROOM = SHOWN * 4 + 32 };

static bool stderr_wanted = true;

void log_open(bool to_stderr)
{
    stderr_wanted = to_stderr;
    if (!to_stderr) {
        openlog("sekisho-milter", LOG_PID | LOG_NDELAY, LOG_MAIL);
    }
}

static void line(int priority, const char *text)
{
    if (!stderr_wanted) {
        syslog(priority, "%s", text);
        return;
    }
    /* one write, so that lines of several threads do not mix */
    char whole[8192];
    int size = snprintf(whole, sizeof whole, "sekisho-milter: %s\n", text);
    if (size >= (int)sizeof whole) {
        size = (int)sizeof whole - 1;
        whole[size - 1] = '\n';
    }
    ssize_t wrote = write(STDERR_FILENO, whole, (size_t)size);
    (void)wrote; /* nowhere to complain */
}

void log_sentence(void *context, int priority, const char *sentence)
{
    char shown[1024];

    (void)context;
    printable_copy(shown, sizeof shown, sentence, strlen(sentence), 512);
    /* a quote in a sentence is a quote: only fields need the escape */
    size_t used = 0;
    for (const char *at = shown; *at != '\0'; at++) {
        if (strncmp(at, "\\x22", 4) == 0 || strncmp(at, "\\x5c", 4) == 0) {
            shown[used++] = at[2] == '2' ? '"' : '\\';
            at += 3;
        } else {
            shown[used++] = *at;
        }
    }
    shown[used] = '\0';
    line(priority, shown);
}

static void rule_words(struct rule rule, char *to, size_t room)
{
    if (rule.table == TABLE_NONE) {
        snprintf(to, room, "-");
    } else {
        snprintf(to, room, "%s:%" PRId64, table_name(rule.table), rule.row);
    }
}

static void field(char to[SHOWN_ROOM], struct text text)
{
    printable_copy(to, SHOWN_ROOM, text.bytes, text.size, SHOWN);
}

/* A session or queue id as one word, so that what follows it cannot be forged. */
static const char *word(char to[64], const char *id)
{
    snprintf(to, 64, "%s", id[0] != '\0' ? id : "-");
    for (char *at = to; *at != '\0'; at++) {
        if (*at == ' ' || *at == '=') {
            *at = '_';
        }
    }
    return to;
}

void log_decision(const char *where, const char *session, const char *queue,
                  const struct facts *facts, const struct judged *judged, bool mta_refused)
{
    char helo[SHOWN_ROOM], login[SHOWN_ROOM], sender[SHOWN_ROOM], recipient[SHOWN_ROOM];
    char client[IP_TEXT] = "unknown", rule[64], observed[160] = "", observed_rule[64];
    const struct verdict *verdict = &judged->verdict;
    char text[8192], session_word[64], queue_word[64];

    field(helo, facts->helo);
    field(login, facts->login);
    field(sender, facts->sender);
    field(recipient, facts->recipient);
    if (facts->client_known) {
        ip_text(&facts->client, client);
    }
    rule_words(verdict->rule, rule, sizeof rule);
    if (verdict->observed) {
        rule_words(verdict->observed_rule, observed_rule, sizeof observed_rule);
        snprintf(observed, sizeof observed, " observed=%s observed_row=%s",
                 reason_row(verdict->observed_reason)->name, observed_rule);
    }
    snprintf(text, sizeof text,
             "decision=%" PRIu64 " action=%s reason=%s row=%s at=%s session=%s queue=%s kind=%s "
             "client=%s helo=\"%s\" login=\"%s\" from=\"%s\" to=\"%s\" policy=%" PRIu64 "%s%s",
             judged->number, action_name(verdict->action), reason_row(verdict->reason)->name, rule,
             where, word(session_word, session), word(queue_word, queue),
             kind_name(verdict->kind), client, helo, login, sender, recipient, judged->generation,
             observed, mta_refused ? " mta=refused" : "");
    line(verdict->action == ACTION_PASS ? LOG_INFO : LOG_NOTICE, text);
}

void log_message(const char *session, const char *queue, const char *end, size_t accepted,
                 size_t refused, const char *reason, uint64_t number)
{
    char text[512], queue_word[64];

    if (number != 0) {
        snprintf(text, sizeof text,
                 "message session=%s queue=%s end=%s accepted=%zu refused=%zu reason=%s decision=%" PRIu64,
                 session, word(queue_word, queue), end, accepted, refused, reason, number);
    } else {
        snprintf(text, sizeof text, "message session=%s queue=%s end=%s accepted=%zu refused=%zu",
                 session, word(queue_word, queue), end, accepted, refused);
    }
    line(LOG_INFO, text);
}
