/* What there is to report of a span: gathered once, then written as text, HTML, JSON or mail. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_REPORT_H
#define SEKISHO_REPORT_H

#include "ctl.h"
#include "nearest.h"
#include "store/figures.h"

enum {
    REPORT_TOPS = 10,    /* names in a list */
    REPORT_BLOCKS = 100, /* blocks of which all is told; others are counted */
    REPORT_QUEUES = 40,  /* queue ids of one block */
    REPORT_RECIPIENTS = 5,
    REPORT_NEVER = 8,  /* ids of rows that never spoke, of one table */
    REPORT_BARS = 400, /* hours or days */
    REPORT_QUEUE_ID = 72,
    REPORT_NAME = 512,
    REPORT_NEWS = 20
};

/* A text from outside, all of it that was kept. */
struct report_name {
    char bytes[REPORT_NAME + 1];
    size_t size;
};

struct report_sum {
    uint64_t reason[REASON_COUNT], action[3];
    uint64_t out;      /* passes to others */
    uint64_t observed; /* of all: a check that is only observed would have answered otherwise */
};

struct report_moment {
    char label[16]; /* 2026-11-24 03, or 2026-11-24 */
    uint64_t action[3];
};

struct report_top {
    struct report_name name, client;
    uint64_t count, out, refused, number;
    enum reason reason;
};

struct report_row {
    struct rule rule;
    uint64_t count;
};

/* The rows of one table that can speak. */
struct report_table {
    uint64_t rows, spoke;
    int64_t never[REPORT_NEVER]; /* the first of the others */
    size_t nevers;
};

/* Somebody who is blocked, and what he had got out. */
struct report_block {
    struct block block; /* its subject is the canonical text */
    bool forever, relay;
    int64_t looked_since;     /* passes were looked for from here on; 0: they were not */
    uint64_t out, in;         /* recipients let through: others, ours */
    struct report_name login; /* as it was given the last time */
    char queue[REPORT_QUEUES][REPORT_QUEUE_ID]; /* of those that went out, each once */
    size_t queues;
    bool more_queues;
    struct report_name recipient[REPORT_RECIPIENTS]; /* the last ones */
    size_t recipients;                               /* how many were put there in all */
};

/* What has happened since the administrator was told last. */
struct report_news {
    bool refused, no_policy, state;
    size_t blocks; /* how many began by themselves */
    struct {
        char subject[SUBJECT_TEXT];
        uint64_t number;
        int64_t at;
    } block[REPORT_NEWS];
};

struct report {
    int64_t now, since, until; /* wall clock, Unix ms */
    char host[256];
    struct report_news news; /* of an alarm */

    /* the daemon, as status.json says; times 0 = never */
    enum ctl_daemon daemon;
    bool told; /* status.json could be read */
    int64_t generation, in_force_since, refused_at;
    bool refused, last_good;
    char refusal[512], state_trouble[512];

    /* what could not be read, and why; "" = it could */
    char state_why[512], policy_why[512];

    struct report_sum now_sum, before_sum; /* before: as long a time just before it */
    bool days;
    struct report_moment *moments;
    size_t moment_count;
    struct report_top top[FIGURES_WHOSE_COUNT][REPORT_TOPS];
    size_t tops[FIGURES_WHOSE_COUNT];

    struct report_row *rows; /* that spoke, in the order of table's name and id */
    size_t row_count, row_room;
    struct report_table table[TABLE_COUNT];

    struct report_block *blocks; /* in force; logins first, then what got most out */
    size_t block_count, blocks_in_force;
    uint64_t began; /* blocks that began by themselves in the span */

    struct nearest near; /* those at four fifths of a limit or more */

    struct ctl_policy policy; /* with policy_why: the last good one, or NULL */
    bool no_memory;
};

/* Gathers it. What cannot be read is told in the report. STATUS_BROKEN: no memory. */
enum status report_gather(const struct ctl *ctl, int64_t since, struct report *report,
                          struct why *why);
void report_free(struct report *report);

/* What status.json says, and whether the daemon runs: a part of the above. */
void report_gather_standing(const struct ctl *ctl, struct report *report);

/* Can rows of this table be the one that spoke? */
bool report_table_speaks(enum table table);

/* Whether figures and policy were to be had: how the tool ends. */
int report_exit(const struct report *report);

/* Printable ASCII of a name from outside, cut to fit a line. Returns to. */
enum { REPORT_SHOWN = 4 * 60 + 32 };
const char *report_shown(const struct report_name *name, char to[REPORT_SHOWN]);

/* One line: what is the most important. For the subject of a mail, too. */
void report_headline(const struct report *report, char *to, size_t room);
/* The page, to a file; html: the other form of it. */
void report_page(const struct report *report, FILE *to, bool html);
/* Everything, as JSON; NULL: no memory. */
json_t *report_json(const struct report *report);

/* Hands a message with both forms to the program sendmail (a path), which is waited for. to is an
 * address that report_address_good has seen. STATUS_BROKEN: it could not be started, or it has
 * failed; why says how. */
enum status report_mail(const struct report *report, const char *sendmail, const char *to,
                        struct why *why);
/* One mailbox without anything that a command line or a header could mistake for something else:
 * user@example.jp or postmaster. */
bool report_address_good(const char *address);

#endif
