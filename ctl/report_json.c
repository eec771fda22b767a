/* The report as JSON: all figures, names as they are. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "report.h"

#include <string.h>

static json_t *json_time(int64_t wall)
{
    char text[CTL_TIME];
    return wall != 0 ? json_string(ctl_time_text(wall, text)) : json_null();
}

/* A name with a NUL in it, or not UTF-8, as printable_copy has it. */
static json_t *json_name(const struct report_name *name)
{
    char shown[4 * REPORT_NAME + 32];
    json_t *text = strlen(name->bytes) == name->size ? json_string(name->bytes) : NULL;

    if (text == NULL) {
        printable_copy(shown, sizeof shown, name->bytes, name->size, REPORT_NAME);
        text = json_string(shown);
    }
    return text;
}

static json_t *json_actions(const uint64_t action[3])
{
    return json_pack("{s:I, s:I, s:I}", "accept", (json_int_t)action[ACTION_PASS], "reject",
                     (json_int_t)action[ACTION_REFUSE], "tempfail",
                     (json_int_t)action[ACTION_DEFER]);
}

static json_t *json_sum(const struct report_sum *sum)
{
    json_t *reasons = json_object();

    for (int i = REASON_NONE + 1; i < REASON_COUNT; i++) {
        if (sum->reason[i] > 0) {
            json_object_set_new(reasons, reason_row((enum reason)i)->name,
                                json_integer((json_int_t)sum->reason[i]));
        }
    }
    return json_pack("{s:I, s:o, s:I, s:I, s:o}", "recipients",
                     (json_int_t)(sum->action[0] + sum->action[1] + sum->action[2]), "actions",
                     json_actions(sum->action), "elsewhere", (json_int_t)sum->out, "observed",
                     (json_int_t)sum->observed, "reasons", reasons);
}

static json_t *json_moments(const struct report *report)
{
    json_t *list = json_array();

    for (size_t i = 0; i < report->moment_count; i++) {
        json_t *one = json_actions(report->moments[i].action);
        json_object_set_new(one, "at", json_string(report->moments[i].label));
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *json_tops(const struct report *report, enum figures_whose whose)
{
    json_t *list = json_array();

    for (size_t i = 0; i < report->tops[whose]; i++) {
        const struct report_top *top = &report->top[whose][i];
        json_t *one = json_pack("{s:o, s:I, s:I, s:s, s:o}", "name", json_name(&top->name), "count",
                                (json_int_t)top->count, "number", (json_int_t)top->number, "reason",
                                reason_row(top->reason)->name, "client", json_name(&top->client));
        if (whose == FIGURES_LOGINS) {
            json_object_set_new(one, "elsewhere", json_integer((json_int_t)top->out));
            json_object_set_new(one, "refused", json_integer((json_int_t)top->refused));
        }
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *json_block(const struct report_block *block)
{
    json_t *queues = json_array(), *recipients = json_array();
    const size_t shown =
        block->recipients < REPORT_RECIPIENTS ? block->recipients : REPORT_RECIPIENTS;

    for (size_t i = 0; i < block->queues; i++) {
        json_array_append_new(queues, ctl_json_text(block->queue[i]));
    }
    for (size_t i = 0; i < shown; i++) {
        size_t at = (block->recipients - shown + i) % REPORT_RECIPIENTS;
        json_array_append_new(recipients, json_name(&block->recipient[at]));
    }
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:b, s:I, s:o, s:o, s:I, s:I, s:o, s:b, s:o}", "subject",
        ctl_json_text(block->block.subject), "since", json_time(block->block.since), "until",
        block->forever ? json_null() : json_time(block->block.until), "reason",
        block->block.reason != REASON_NONE ? json_string(reason_row(block->block.reason)->name)
                                           : json_null(),
        "by_hand", block->block.by_hand, "number", (json_int_t)block->block.number, "note",
        ctl_json_text(block->block.note), "looked_since", json_time(block->looked_since),
        "elsewhere", (json_int_t)block->out, "ours", (json_int_t)block->in, "queues", queues,
        "more_queues", block->more_queues, "last_recipients", recipients);
}

static json_t *json_rule(const struct report *report, struct rule rule)
{
    if (report->policy.policy != NULL) {
        return ctl_json_rule(report->policy.policy, rule);
    }
    return json_pack("{s:s, s:I}", "table", table_name(rule.table), "row", (json_int_t)rule.row);
}

static json_t *json_rows(const struct report *report)
{
    json_t *list = json_array();

    for (size_t i = 0; i < report->row_count; i++) {
        json_t *one = json_rule(report, report->rows[i].rule);
        json_object_set_new(one, "count", json_integer((json_int_t)report->rows[i].count));
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *json_tables(const struct report *report)
{
    json_t *tables = json_object();

    for (int i = TABLE_NONE + 1; i < TABLE_COUNT; i++) {
        const struct report_table *table = &report->table[i];
        json_t *never = json_array();
        if (!report_table_speaks((enum table)i) || report->policy.policy == NULL) {
            json_decref(never);
            continue;
        }
        for (size_t j = 0; j < table->nevers; j++) {
            json_array_append_new(never, json_integer(table->never[j]));
        }
        json_object_set_new(tables, table_name((enum table)i),
                            json_pack("{s:I, s:I, s:o}", "rows", (json_int_t)table->rows, "spoke",
                                      (json_int_t)table->spoke, "never", never));
    }
    return tables;
}

static json_t *json_near(const struct report *report)
{
    json_t *list = json_array();

    for (size_t i = 0; i < report->near.count; i++) {
        const struct nearest_entry *entry = &report->near.entries[i];
        json_array_append_new(
            list,
            json_pack("{s:o, s:I, s:I, s:I, s:s, s:o, s:o, s:b}", "subject",
                      ctl_json_text(entry->subject), "count", (json_int_t)entry->count, "allowed",
                      (json_int_t)entry->allowed, "seconds", (json_int_t)entry->seconds, "counts",
                      counts_name(entry->limit.counts), "rule", ctl_json_text(entry->name), "row",
                      ctl_json_rule(report->near.policy, entry->limit.rule), "observed",
                      entry->observed));
    }
    return list;
}

static json_t *json_standing(const struct report *report)
{
    return json_pack("{s:b, s:b, s:I, s:o, s:b, s:o, s:s, s:b, s:s, s:s, s:s}", "running",
                     report->daemon == CTL_DAEMON_RUNS, "told", report->told, "generation",
                     (json_int_t)report->generation, "in_force_since",
                     json_time(report->in_force_since), "refused", report->refused, "refused_at",
                     json_time(report->refused_at), "refusal", report->refusal, "last_good",
                     report->last_good, "state_trouble", report->state_trouble, "state_error",
                     report->state_why, "policy_error", report->policy_why);
}

json_t *report_json(const struct report *report)
{
    json_t *blocks = json_array();

    for (size_t i = 0; i < report->block_count; i++) {
        json_array_append_new(blocks, json_block(&report->blocks[i]));
    }
    return json_pack("{s:b, s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:s, s:o, s:o, s:o, "
                     "s:o, s:o, s:o}",
                     "ok", report_exit(report) == CTL_YES, "host", report->host, "since",
                     json_time(report->since), "until", json_time(report->until), "daemon",
                     json_standing(report), "now", json_sum(&report->now_sum), "before",
                     json_sum(&report->before_sum), "blocks_began", (json_int_t)report->began,
                     "blocks_in_force", (json_int_t)report->blocks_in_force, "blocks", blocks,
                     "near", json_near(report), "every", report->days ? "day" : "hour", "times",
                     json_moments(report), "clients", json_tops(report, FIGURES_CLIENTS), "logins",
                     json_tops(report, FIGURES_LOGINS), "forged_senders",
                     json_tops(report, FIGURES_FORGED), "rows", json_rows(report), "tables",
                     json_tables(report));
}
