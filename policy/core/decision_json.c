/* A decision as JSON: the same members in the daemon's log and in what the tool prints. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/decision_json.h"

#include <string.h>

const char *outcome_name(enum outcome outcome)
{
    static const char *const names[] = {"", "accepted", "rejected", "aborted"};
    return (unsigned)outcome < sizeof names / sizeof names[0] ? names[outcome] : "";
}

/* A text of our own making, but perhaps with the administrator's words in it. */
static void put_text(struct jsonl *line, const char *name, const struct text *text)
{
    bool escaped;

    if (text->bytes == NULL || text->size == 0) {
        jsonl_null(line, name);
    } else {
        jsonl_text(line, name, text->bytes, jsonl_whole(text->bytes, text->size),
                   DECISION_JSON_OURS, &escaped);
    }
}

static void put_ip(struct jsonl *line, const char *name, bool known, const struct ip *ip)
{
    char text[IP_TEXT] = "";

    if (known) {
        ip_text(ip, text);
    }
    jsonl_word(line, name, text);
}

/* The row as it was, not as it is. */
static void put_row(struct jsonl *line, struct rule rule, const struct text *text)
{
    if (rule.table == TABLE_NONE) {
        jsonl_null(line, "row");
        return;
    }
    jsonl_open(line, "row", '{');
    jsonl_word(line, "table", table_name(rule.table));
    jsonl_number(line, "row", rule.row);
    put_text(line, "text", text);
    jsonl_close(line, '{');
}

static void put_limit(struct jsonl *line, const struct decision *decision)
{
    const struct limit_seen *limit = &decision->verdict.limit;

    if (limit->rule.table == TABLE_NONE) {
        jsonl_null(line, "limit");
        return;
    }
    jsonl_open(line, "limit", '{');
    jsonl_number(line, "row", limit->rule.row);
    put_text(line, "subject", &decision->subject[limit->subject]);
    jsonl_word(line, "counts", counts_name(limit->counts));
    jsonl_number(line, "count", (int64_t)limit->count);
    jsonl_number(line, "allowed", (int64_t)limit->allowed);
    jsonl_number(line, "seconds", limit->seconds);
    jsonl_number(line, "wait_ms", limit->wait);
    jsonl_close(line, '{');
}

enum { OUTSIDE = 6 }; /* the texts that come from outside */

struct outside {
    const char *name;
    const struct kept_text *kept;
    size_t shown;
    bool escaped;
};

static void put_outside(struct jsonl *line, struct outside *outside, size_t most)
{
    const struct text *text = &outside->kept->text;
    size_t size = text->size;

    if (text->bytes == NULL || size == 0) {
        jsonl_null(line, outside->name);
        return;
    }
    if (outside->kept->whole > size) {
        size = jsonl_whole(text->bytes, size);
    }
    outside->shown = jsonl_text(line, outside->name, text->bytes, size, most, &outside->escaped);
}

static void put_lengths(struct jsonl *line, const struct outside outside[OUTSIDE])
{
    jsonl_open(line, "lengths", '{');
    for (size_t i = 0; i < OUTSIDE; i++) {
        size_t had = outside[i].kept->text.size;
        had = outside[i].kept->whole > had ? outside[i].kept->whole : had;
        if (had > outside[i].shown) {
            jsonl_number(line, outside[i].name, (int64_t)had);
        }
    }
    jsonl_close(line, '{');
    jsonl_open(line, "escaped", '[');
    for (size_t i = 0; i < OUTSIDE; i++) {
        if (outside[i].escaped) {
            jsonl_word(line, NULL, outside[i].name);
        }
    }
    jsonl_close(line, '[');
}

void decision_json(struct jsonl *line, const struct decision *decision, const char *at,
                   const char *outcome, size_t most)
{
    const struct verdict *verdict = &decision->verdict;
    struct outside outside[OUTSIDE] = {{"client_name", &decision->client_name, 0, false},
                                       {"helo", &decision->helo, 0, false},
                                       {"host", &decision->host, 0, false},
                                       {"login", &decision->login, 0, false},
                                       {"from", &decision->sender, 0, false},
                                       {"to", &decision->recipient, 0, false}};
    enum { CLIENT_NAME, HELO, HOST, LOGIN, FROM, TO };

    if (decision->number == 0) {
        jsonl_null(line, "number");
    } else {
        jsonl_number(line, "number", (int64_t)decision->number);
    }
    jsonl_word(line, "at", at);
    jsonl_word(line, "action", action_name(verdict->action));
    jsonl_word(line, "reason", reason_row(verdict->reason)->name);
    jsonl_word(line, "check", check_name(verdict->check));
    put_row(line, verdict->rule, &decision->row_text);
    jsonl_word(line, "kind", kind_name(verdict->kind));
    jsonl_word(line, "post", decision->post == POST_DOOR ? "door" : "milter");
    jsonl_bool(line, "recipient_local", verdict->recipient_local);
    jsonl_number(line, "policy", (int64_t)decision->generation);

    put_ip(line, "client", decision->client_known, &decision->client);
    put_outside(line, &outside[CLIENT_NAME], most);
    put_outside(line, &outside[HELO], most);
    put_outside(line, &outside[HOST], most);
    put_ip(line, "listener", decision->listener_known, &decision->listener);
    put_outside(line, &outside[LOGIN], most);
    put_outside(line, &outside[FROM], most);
    put_outside(line, &outside[TO], most);
    jsonl_bool(line, "submission", decision->submission);
    jsonl_bool(line, "not_for_mta", decision->not_for_mta);
    jsonl_bool(line, "mta_refused", decision->mta_refused);
    put_lengths(line, outside);

    put_text(line, "session", &decision->session);
    put_text(line, "queue_id", &decision->queue);
    jsonl_word(line, "outcome", outcome);
    if (verdict->observed) {
        jsonl_open(line, "observed", '{');
        jsonl_word(line, "reason", reason_row(verdict->observed_reason)->name);
        put_row(line, verdict->observed_rule, &decision->observed_row_text);
        jsonl_close(line, '{');
    } else {
        jsonl_null(line, "observed");
    }
    put_limit(line, decision);
    if (decision->blocks) {
        put_text(line, "blocked", &decision->block_subject);
    } else {
        jsonl_null(line, "blocked");
    }
}
