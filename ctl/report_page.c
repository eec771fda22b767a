/* The report as a page: the most important first, each reason in words. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "page.h"
#include "report.h"

enum {
    BLOCKS_SHOWN = 20, /* with what they had got out; */
    QUIET_SHOWN = 20,  /* and of clients that had got nothing out */
    ROWS_SHOWN = 15,
    ROW_SHOWN = 110, /* octets of a row's text, */
    ROW_BRIEF = 60,  /* and where many stand in a line */
    COMMAND = 4096,
    COMMAND_WORD = 56 /* octets of a word in it that is not ours */
};

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static const char *number_text(uint64_t number, char to[24])
{
    snprintf(to, 24, "%" PRIu64, number);
    return to;
}

static const char *recipients(uint64_t count)
{
    return count == 1 ? "recipient" : "recipients";
}

/* -- what can be pasted --------------------------------------------------------------------- */

/* A word for a shell, which may be folded at blanks; false: better none. */
static bool put_word(char *to, size_t room, const char *word)
{
    static const char bare[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@._:/+=-,";
    size_t size = strlen(word);

    if (size == 0 || size > COMMAND_WORD || strchr(word, '\'') != NULL ||
        strchr(word, '\\') != NULL || strchr(word, ' ') != NULL || word[0] == '-') {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)word[i] < 0x20 || (unsigned char)word[i] > 0x7e) {
            return false;
        }
    }
    bool quote = word[strspn(word, bare)] != '\0';
    return snprintf(to, room, "%s%s%s", quote ? "'" : "", word, quote ? "'" : "") < (int)room;
}

enum mta { MTA_UNKNOWN, MTA_POSTFIX, MTA_SENDMAIL };

/* By the form of its queue ids: Postfix's are hexadecimal, or with enable_long_queue_ids have a z
 * before the inode; Sendmail's are eight letters of time and a process id of six digits. */
static enum mta mta_of(const char *queue)
{
    size_t size = strlen(queue);

    for (size_t i = 0; i < size; i++) {
        if (!isalnum((unsigned char)queue[i])) {
            return MTA_UNKNOWN;
        }
    }
    if (size >= 5 && strspn(queue, "0123456789ABCDEF") == size) {
        return MTA_POSTFIX;
    }
    if (size >= 14 && strspn(queue + 8, "0123456789") == size - 8) {
        return MTA_SENDMAIL;
    }
    return size >= 11 && strchr(queue + 6, 'z') != NULL ? MTA_POSTFIX : MTA_UNKNOWN;
}

static void put_queue_commands(struct page *page, const struct report_block *block)
{
    char line[COMMAND];
    size_t used = 0, done = 0;
    const enum mta mta = mta_of(block->queue[0]);
    const char *each = mta == MTA_POSTFIX ? " -h\t" : " -qI";

    if (mta == MTA_UNKNOWN) {
        page_item_say(page, "Their queue ids (the mail server's own commands hold them):");
    } else {
        page_item_say(page, "What still waits in the mail server's queue is held by:");
        used = (size_t)snprintf(line, sizeof line, "%s",
                                mta == MTA_POSTFIX ? "postsuper" : "sendmail -Qsekisho");
    }
    for (size_t i = 0; i < block->queues; i++) {
        char shown[4 * REPORT_QUEUE_ID + 32];
        if (mta == MTA_UNKNOWN) {
            printable_copy(shown, sizeof shown, block->queue[i], strlen(block->queue[i]),
                           REPORT_QUEUE_ID);
            page_item_say(page, "%s", shown);
        } else if (mta_of(block->queue[i]) == mta && used + REPORT_QUEUE_ID + 8 < sizeof line) {
            used +=
                (size_t)snprintf(line + used, sizeof line - used, "%s%s", each, block->queue[i]);
            done++;
        }
    }
    if (done > 0) {
        page_command(page, line);
    }
    if (mta == MTA_POSTFIX) {
        page_item_say(page, "Look with postcat -q ID; delete with postsuper -d ID; release with "
                            "postsuper -H ID.");
    } else if (mta == MTA_SENDMAIL) {
        page_item_say(page, "It is quarantined then: mailq -qQ shows it, sendmail(8) under -Q says "
                            "how to release it.");
    }
}

/* How to see all of it, and with more queue ids than are shown how to hold them all. */
static void put_log_command(struct page *page, const struct report_block *block)
{
    char line[COMMAND], word[256], since[CTL_TIME];
    const bool by_login = strncmp(block->block.subject, "identity:", 9) == 0;
    const char *colon = strchr(block->block.subject, ':');
    const char *whom = by_login && block->login.size > 0 ? block->login.bytes
                       : colon != NULL                   ? colon + 1
                                                         : "";

    /* a NUL in a login cannot be written */
    if ((by_login && strlen(whom) < block->login.size) || !put_word(word, sizeof word, whom)) {
        return;
    }
    ctl_time_text(block->looked_since != 0 ? block->looked_since : block->block.since, since);
    since[10] = 'T';
    snprintf(line, sizeof line, "sekisho log --since %sZ --%s %s --action accept", since,
             by_login ? "login" : "client", word);
    page_item_say(page, "All of it:");
    page_command(page, line);
    if (block->more_queues && mta_of(block->queue[0]) == MTA_POSTFIX) {
        snprintf(
            line, sizeof line,
            "sekisho --json log --since %sZ --%s %s --action accept | jq -r '.queue_id//empty' "
            "| sort -u | postsuper -h -",
            since, by_login ? "login" : "client", word);
        page_item_say(page, "There are more messages than that; this holds all that still wait:");
        page_command(page, line);
    }
}

/* -- what needs doing ----------------------------------------------------------------------- */

static void until_text(const struct report_block *block, char to[64])
{
    char time[CTL_TIME];

    if (block->forever) {
        snprintf(to, 64, "until it is lifted");
    } else {
        snprintf(to, 64, "until %s UTC", ctl_time_text(block->block.until, time));
    }
}

static void why_text(const struct report_block *block, char *to, size_t room)
{
    const struct block *kept = &block->block;
    char note[4 * BLOCK_NOTE], number[40] = "", row[64] = "";

    if (kept->rule.table != TABLE_NONE) {
        snprintf(row, sizeof row, ", by %s %" PRId64, table_name(kept->rule.table), kept->rule.row);
    }
    if (kept->number != 0) {
        snprintf(number, sizeof number, ", #%" PRIu64, kept->number);
    }
    snprintf(to, room, "%s%s%s%s%s%s%s", kept->by_hand ? "by hand" : "by itself",
             kept->reason != REASON_NONE ? ", " : "",
             kept->reason != REASON_NONE ? reason_row(kept->reason)->name : "", row, number,
             kept->note[0] != '\0' ? ", note: " : "", ctl_plain(kept->note, note, sizeof note));
}

static void put_block(struct page *page, const struct report_block *block)
{
    char subject[4 * BLOCK_SUBJECT], until[64], why[1024], line[COMMAND], word[256];
    char since[CTL_TIME];

    until_text(block, until);
    why_text(block, why, sizeof why);
    page_item(page, TONE_BAD, "%.250s is blocked since %s UTC, %s (%s)",
              ctl_plain(block->block.subject, subject, sizeof subject),
              ctl_time_text(block->block.since, since), until, why);
    if (block->block.reason != REASON_NONE) {
        page_item_say(page, "%s", reason_row(block->block.reason)->cause);
    }
    if (block->looked_since == 0) {
        page_item_say(page,
                      "It began more than a week ago; earlier reports told what had got out.");
    } else {
        page_item_say(page,
                      "From a day before until now %" PRIu64 " %s elsewhere and %" PRIu64
                      " of ours were let through.",
                      block->out, recipients(block->out), block->in);
    }
    if (block->recipients > 0) {
        size_t shown =
            block->recipients < REPORT_RECIPIENTS ? block->recipients : REPORT_RECIPIENTS;
        char list[REPORT_RECIPIENTS * (REPORT_SHOWN + 2) + 1] = "", one[REPORT_SHOWN];
        size_t used = 0;
        for (size_t i = 0; i < shown; i++) {
            size_t at = (block->recipients - shown + i) % REPORT_RECIPIENTS;
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "",
                                     report_shown(&block->recipient[at], one));
        }
        page_item_say(page, "The last of them elsewhere: %s", list);
    }
    if (block->queues > 0) {
        put_queue_commands(page, block);
    }
    if (block->out > 0 || block->looked_since == 0) {
        put_log_command(page, block);
    }
    if (put_word(word, sizeof word, block->block.subject)) {
        page_item_say(page, "When it is mended:");
        snprintf(line, sizeof line, "sekisho block lift %s", word);
        page_command(page, line);
    }
    page_item_end(page);
}

/* A stranger's client that had got nothing out needs no care: a line. */
static bool is_quiet(const struct report_block *block)
{
    return strncmp(block->block.subject, "client:", 7) == 0 && block->out == 0;
}

static size_t put_blocks(struct page *page, const struct report *report)
{
    static const struct page_column columns[] = {
        {"client", 39, false}, {"since (UTC)", 19, false}, {"why", 0, false}};
    size_t loud = 0, quiet = 0, shown = 0;

    for (size_t i = 0; i < report->block_count; i++) {
        if (is_quiet(&report->blocks[i])) {
            quiet++;
        } else if (loud++ < BLOCKS_SHOWN) {
            put_block(page, &report->blocks[i]);
        }
    }
    size_t others = report->blocks_in_force - report->block_count;
    if (quiet > 0) {
        page_item(page, TONE_NOTE, "%zu blocked client%s had got nothing out: nothing to do", quiet,
                  quiet == 1 ? "" : "s");
        page_table(page, columns, COUNT_OF(columns));
        for (size_t i = 0; i < report->block_count && shown < QUIET_SHOWN; i++) {
            const struct report_block *block = &report->blocks[i];
            char subject[4 * BLOCK_SUBJECT], since[CTL_TIME];
            const char *cells[] = {ctl_plain(block->block.subject + 7, subject, sizeof subject),
                                   ctl_time_text(block->block.since, since),
                                   block->block.reason != REASON_NONE
                                       ? reason_row(block->block.reason)->name
                                       : "by hand"};
            if (is_quiet(block)) {
                page_row(page, cells);
                shown++;
            }
        }
        page_table_end(page);
        page_item_end(page);
    }
    if (others > 0 || loud > BLOCKS_SHOWN || quiet > shown) {
        page_item(page, TONE_NOTE, "All %zu that are blocked just now are shown by",
                  report->blocks_in_force);
        page_command(page, "sekisho block list");
        page_item_end(page);
    }
    return loud;
}

static void put_trouble(struct page *page, const char *sentence, const char *command)
{
    page_item(page, TONE_BAD, "%s", sentence);
    if (command != NULL) {
        page_command(page, command);
    }
    page_item_end(page);
}

static size_t put_standing(struct page *page, const struct report *report)
{
    char text[1200], time[CTL_TIME];
    size_t found = 0;

    if (report->daemon == CTL_DAEMON_NONE) {
        put_trouble(page, "The daemon does not run", "sekisho status");
        found++;
    }
    if (report->told && report->generation == 0) {
        put_trouble(page, "No policy is in force: everything that needs one is answered with 451",
                    "sekisho check");
        found++;
    }
    if (report->told && report->refused) {
        snprintf(text, sizeof text, "policy.db was refused at %s UTC, %s: %s",
                 ctl_time_text(report->refused_at, time),
                 report->generation != 0 ? "and the last good policy is in force"
                                         : "with none before",
                 report->refusal);
        put_trouble(page, text, "sekisho check");
        found++;
    } else if (report->told && report->last_good && report->generation != 0) {
        put_trouble(page,
                    "The policy in force is not policy.db but the last good one, kept in the state "
                    "directory",
                    "sekisho status");
        found++;
    }
    if (report->policy_why[0] != '\0' && !report->refused) {
        snprintf(text, sizeof text, "The policy cannot be read here: %s", report->policy_why);
        put_trouble(page, text, "sekisho check");
        found++;
    }
    if (report->told && report->state_trouble[0] != '\0') {
        snprintf(text, sizeof text, "The daemon has trouble with its state: %s",
                 report->state_trouble);
        put_trouble(page, text, "sekisho status");
        found++;
    }
    if (report->state_why[0] != '\0') {
        snprintf(text, sizeof text, "The figures below are not whole: %s", report->state_why);
        put_trouble(page, text, NULL);
        found++;
    }
    return found;
}

static size_t put_failures(struct page *page, const struct report *report)
{
    static const enum reason failures[] = {REASON_NO_POLICY, REASON_NO_RECORD,
                                           REASON_INTERNAL_ERROR};
    size_t found = 0;

    for (size_t i = 0; i < COUNT_OF(failures); i++) {
        const struct reason_row *row = reason_row(failures[i]);
        uint64_t count = report->now_sum.reason[failures[i]];
        if (count > 0) {
            page_item(page, TONE_BAD, "%" PRIu64 " %s deferred with %s", count,
                      count == 1 ? "recipient was" : "recipients were", row->name);
            page_item_say(page, "%s %s", row->cause, row->remedy);
            page_item_end(page);
            found++;
        }
    }
    return found;
}

static size_t put_near(struct page *page, const struct report *report)
{
    const struct nearest *near = &report->near;

    for (size_t i = 0; i < near->count; i++) {
        const struct nearest_entry *entry = &near->entries[i];
        char shown[4 * SUBJECT_TEXT], name[256], rule[RULE_TEXT], time[CTL_SPAN];
        page_item(page, TONE_NOTE, "%s: %" PRIu64 " of %" PRIu64 " %s in %s%s",
                  ctl_plain(entry->subject, shown, sizeof shown), entry->count, entry->allowed,
                  counts_name(entry->limit.counts), ctl_span_text(entry->seconds, time),
                  entry->observed ? ", only observed" : "");
        page_item_say(page, "Limit %s: %.*s", ctl_plain(entry->name, name, sizeof name), ROW_SHOWN,
                      policy_rule_text(near->policy, entry->limit.rule, rule));
        page_item_end(page);
    }
    return near->count;
}

static void put_news(struct page *page, const struct report *report)
{
    const struct report_news *news = &report->news;

    if (news->blocks == 0) {
        return;
    }
    page_item(page, TONE_NOTE, "%zu block%s began by %s since you were told last", news->blocks,
              news->blocks == 1 ? "" : "s", news->blocks == 1 ? "itself" : "themselves");
    for (size_t i = 0; i < news->blocks && i < REPORT_NEWS; i++) {
        char shown[4 * SUBJECT_TEXT], time[CTL_TIME];
        page_item_say(page, "%s UTC, %.250s, #%" PRIu64, ctl_time_text(news->block[i].at, time),
                      ctl_plain(news->block[i].subject, shown, sizeof shown),
                      news->block[i].number);
    }
    page_item_end(page);
}

static void put_needs(struct page *page, const struct report *report)
{
    page_section(page, "What needs doing");
    put_news(page, report);
    size_t found = put_standing(page, report);
    found += put_failures(page, report);
    found += put_blocks(page, report);
    found += put_near(page, report);
    if (found == 0) {
        page_item(page, TONE_GOOD, "Nothing.");
        page_item_end(page);
    }
}

/* -- figures -------------------------------------------------------------------------------- */

/* The reasons that there were, the most frequent first; returns how many. */
static size_t order_reasons(const struct report *report, enum reason order[REASON_COUNT])
{
    const uint64_t *now = report->now_sum.reason, *before = report->before_sum.reason;
    size_t count = 0;

    for (int i = REASON_NONE + 1; i < REASON_COUNT; i++) {
        size_t at = count;
        if (now[i] + before[i] == 0) {
            continue;
        }
        while (at > 0 && (now[order[at - 1]] < now[i] ||
                          (now[order[at - 1]] == now[i] && before[order[at - 1]] < before[i]))) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = (enum reason)i;
        count++;
    }
    return count;
}

static void put_reasons(struct page *page, const struct report *report)
{
    static const struct page_column columns[] = {
        {"now", 9, true}, {"before", 9, true}, {"reason", 21, false}, {"meaning", 0, false}};
    static const char kinds[] = {'p', 'r', 'd'}; /* as enum action */
    struct page_share shares[REASON_COUNT];
    enum reason order[REASON_COUNT];
    size_t count = order_reasons(report, order), shown = 0;

    page_section(page, "By reason");
    while (shown < count && report->now_sum.reason[order[shown]] > 0) {
        const struct reason_row *row = reason_row(order[shown]);
        shares[shown] = (struct page_share){row->name, kinds[row->action],
                                            report->now_sum.reason[order[shown]]};
        shown++;
    }
    page_shares(page, "recipients by reason", shares, shown);
    page_table(page, columns, COUNT_OF(columns));
    for (size_t i = 0; i < count; i++) {
        const struct reason_row *row = reason_row(order[i]);
        char now[24], before[24];
        const char *cells[] = {number_text(report->now_sum.reason[order[i]], now),
                               number_text(report->before_sum.reason[order[i]], before), row->name,
                               row->cause};
        page_row(page, cells);
    }
    page_table_end(page);
    if (report->now_sum.reason[REASON_NONE] > 0) {
        page_say(page, "%" PRIu64 " more have a reason that this sekisho does not know.",
                 report->now_sum.reason[REASON_NONE]);
    }
    if (report->now_sum.observed > 0) {
        page_say(page,
                 "%" PRIu64 " %s met a check that is only observed and would have been answered "
                 "otherwise (check_mode, setting mode).",
                 report->now_sum.observed, recipients(report->now_sum.observed));
    }
}

static void put_times(struct page *page, const struct report *report)
{
    struct page_bar *bars = calloc(report->moment_count + 1, sizeof *bars);

    if (bars == NULL) {
        return;
    }
    for (size_t i = 0; i < report->moment_count; i++) {
        const struct report_moment *moment = &report->moments[i];
        bars[i] = (struct page_bar){moment->label, moment->action[ACTION_PASS],
                                    moment->action[ACTION_DEFER], moment->action[ACTION_REFUSE]};
    }
    page_section(page, report->days ? "By day" : "By hour");
    page_bars(page, report->days ? "day" : "hour", bars, report->moment_count);
    free(bars);
}

static void put_clients(struct page *page, const struct report *report)
{
    static const struct page_column columns[] = {
        {"refused", 9, true}, {"client", 39, false}, {"last", 0, false}};

    page_section(page, "Clients that were refused most");
    if (report->tops[FIGURES_CLIENTS] == 0) {
        page_say(page, "None.");
        return;
    }
    page_table(page, columns, COUNT_OF(columns));
    for (size_t i = 0; i < report->tops[FIGURES_CLIENTS]; i++) {
        const struct report_top *top = &report->top[FIGURES_CLIENTS][i];
        char count[24], shown[REPORT_SHOWN], last[80];
        const char *cells[] = {number_text(top->count, count), report_shown(&top->name, shown),
                               last};
        snprintf(last, sizeof last, "#%" PRIu64 " %s", top->number, reason_row(top->reason)->name);
        page_row(page, cells);
    }
    page_table_end(page);
}

static void put_logins(struct page *page, const struct report *report)
{
    static const struct page_column columns[] = {{"let through", 11, true},
                                                 {"elsewhere", 9, true},
                                                 {"refused", 9, true},
                                                 {"login, last client", 0, false}};

    page_section(page, "Logins by recipients");
    if (report->tops[FIGURES_LOGINS] == 0) {
        page_say(page, "None.");
        return;
    }
    page_table(page, columns, COUNT_OF(columns));
    for (size_t i = 0; i < report->tops[FIGURES_LOGINS]; i++) {
        const struct report_top *top = &report->top[FIGURES_LOGINS][i];
        char count[24], out[24], refused[24], name[REPORT_SHOWN], client[REPORT_SHOWN];
        char whom[2 * REPORT_SHOWN];
        const char *cells[] = {number_text(top->count, count), number_text(top->out, out),
                               number_text(top->refused, refused), whom};
        snprintf(whom, sizeof whom, "%s, %s", report_shown(&top->name, name),
                 report_shown(&top->client, client));
        page_row(page, cells);
    }
    page_table_end(page);
}

static void put_forged(struct page *page, const struct report *report)
{
    static const struct page_column columns[] = {{"times", 9, true},
                                                 {"sender, last client", 0, false}};

    page_section(page, "Senders of ours that strangers forged");
    if (report->tops[FIGURES_FORGED] == 0) {
        page_say(page, "None.");
        return;
    }
    page_table(page, columns, COUNT_OF(columns));
    for (size_t i = 0; i < report->tops[FIGURES_FORGED]; i++) {
        const struct report_top *top = &report->top[FIGURES_FORGED][i];
        char count[24], name[REPORT_SHOWN], client[REPORT_SHOWN], whom[2 * REPORT_SHOWN];
        const char *cells[] = {number_text(top->count, count), whom};
        snprintf(whom, sizeof whom, "%s, %s", report_shown(&top->name, name),
                 report_shown(&top->client, client));
        page_row(page, cells);
    }
    page_table_end(page);
}

/* A row of policy.db as it is today, cut. */
static void rule_text(const struct report *report, struct rule rule, size_t most,
                      char to[RULE_TEXT])
{
    if (report->policy.policy != NULL) {
        policy_rule_text(report->policy.policy, rule, to);
        if (strlen(to) > most) {
            memcpy(to + most - 3, "...", 4);
        }
    } else {
        snprintf(to, RULE_TEXT, "%s %" PRId64, table_name(rule.table), rule.row);
    }
}

static void put_spoken(struct page *page, const struct report *report)
{
    static const struct page_column columns[] = {{"times", 9, true}, {"row", 0, false}};
    uint64_t below = UINT64_MAX;
    size_t at = 0, shown = 0;

    page_section(page, "Rows that spoke most");
    if (report->row_count == 0) {
        page_say(page, "None.");
        return;
    }
    page_table(page, columns, COUNT_OF(columns));
    /* the next largest each time, in the order of the table among equals */
    while (shown < ROWS_SHOWN && shown < report->row_count) {
        const struct report_row *next = NULL;
        for (size_t i = 0; i < report->row_count; i++) {
            const struct report_row *row = &report->rows[i];
            bool later = row->count < below || (row->count == below && i >= at);
            if (later && (next == NULL || row->count > next->count)) {
                next = row;
            }
        }
        if (next == NULL) {
            break;
        }
        char count[24], text[RULE_TEXT];
        const char *cells[] = {number_text(next->count, count), text};
        rule_text(report, next->rule, ROW_SHOWN, text);
        page_row(page, cells);
        below = next->count;
        at = (size_t)(next - report->rows) + 1;
        shown++;
    }
    page_table_end(page);
    if (report->row_count > shown) {
        page_say(page, "%zu other rows spoke less often.", report->row_count - shown);
    }
}

static void put_never(struct page *page, const struct report *report)
{
    static const struct page_column columns[] = {
        {"never", 7, true}, {"of", 7, true}, {"rows of", 12, false}, {"the first", 0, false}};

    if (report->policy.policy == NULL) {
        return;
    }
    page_section(page, "Rows that never spoke");
    page_say(page, "Of limits, traps, names and receive-only addresses that is as it should be; a "
                   "client host, domain or range that never speaks may be one that nobody needs. "
                   "Rows of imported lists are left out.");
    page_table(page, columns, COUNT_OF(columns));
    for (int i = TABLE_NONE + 1; i < TABLE_COUNT; i++) {
        const struct report_table *table = &report->table[i];
        char never[24], rows[24], list[REPORT_NEVER * (RULE_TEXT + 2) + 8] = "";
        const char *cells[] = {number_text(table->rows - table->spoke, never),
                               number_text(table->rows, rows), table_name((enum table)i), list};
        size_t used = 0;
        for (size_t j = 0; j < table->nevers; j++) {
            const size_t name = strlen(table_name((enum table)i)) + 1;
            char text[RULE_TEXT];
            rule_text(report, (struct rule){(enum table)i, table->never[j]}, ROW_BRIEF, text);
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", j > 0 ? "; " : "",
                                     strlen(text) > name ? text + name : text);
        }
        if (table->rows > table->spoke) {
            page_row(page, cells);
        }
    }
    page_table_end(page);
}

/* -- the page ------------------------------------------------------------------------------- */

void report_headline(const struct report *report, char *to, size_t room)
{
    const struct report_news *news = &report->news;
    char shown[4 * SUBJECT_TEXT];

    if (report->told && report->generation == 0) {
        snprintf(to, room, "no policy is in force");
    } else if (report->told && report->refused) {
        snprintf(to, room, "policy.db was refused");
    } else if (report->told && report->state_trouble[0] != '\0') {
        snprintf(to, room, "trouble with the state");
    } else if (report->state_why[0] != '\0') {
        snprintf(to, room, "the state cannot be read");
    } else if (report->daemon == CTL_DAEMON_NONE) {
        snprintf(to, room, "the daemon does not run");
    } else if (news->blocks > 0) {
        snprintf(to, room, "%.60s is blocked%s",
                 ctl_plain(news->block[0].subject, shown, sizeof shown),
                 news->blocks > 1 ? ", and others" : "");
    } else if (report->block_count > 0 && !is_quiet(&report->blocks[0])) {
        snprintf(to, room, "%.60s is blocked",
                 ctl_plain(report->blocks[0].block.subject, shown, sizeof shown));
    } else {
        snprintf(to, room, "%" PRIu64 " passed, %" PRIu64 " refused, %" PRIu64 " deferred",
                 report->now_sum.action[ACTION_PASS], report->now_sum.action[ACTION_REFUSE],
                 report->now_sum.action[ACTION_DEFER]);
    }
}

static void put_sum(struct page *page, const char *when, const struct report_sum *sum)
{
    page_say(page,
             "%s: %" PRIu64 " %s judged: %" PRIu64 " let through (%" PRIu64 " elsewhere), %" PRIu64
             " refused, %" PRIu64 " deferred.",
             when, sum->action[0] + sum->action[1] + sum->action[2],
             recipients(sum->action[0] + sum->action[1] + sum->action[2]), sum->action[ACTION_PASS],
             sum->out, sum->action[ACTION_REFUSE], sum->action[ACTION_DEFER]);
}

void report_page(const struct report *report, FILE *to, bool html)
{
    struct page page = {.to = to, .html = html};
    char title[320], since[CTL_TIME], until[CTL_TIME], span[CTL_SPAN];

    snprintf(title, sizeof title, "sekisho at %.100s", report->host);
    page_begin(&page, title);
    page_say(&page, "%s to %s UTC (%s). %" PRIu64 " block%s began by %s.",
             ctl_time_text(report->since, since), ctl_time_text(report->until, until),
             ctl_span_text((report->until - report->since) / 1000, span), report->began,
             report->began == 1 ? "" : "s", report->began == 1 ? "itself" : "themselves");
    put_sum(&page, "Now", &report->now_sum);
    put_sum(&page, "As long a time before", &report->before_sum);
    put_needs(&page, report);
    put_reasons(&page, report);
    put_times(&page, report);
    put_clients(&page, report);
    put_logins(&page, report);
    put_forged(&page, report);
    put_spoken(&page, report);
    put_never(&page, report);
    page_end(&page);
}
