/* sekisho block: who is refused for a time, and a request to the daemon to change it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/policy_limit.h"
#include "ctl.h"
#include "store/statedb_block.h"

#define USAGE                                                                                      \
    "block takes list, or add SUBJECT [--for 1h] [--note TEXT], or lift SUBJECT; SUBJECT is "      \
    "client:IP, identity:NAME or relay:IP"

struct blocks {
    const struct ctl *ctl;
    json_t *array;
    size_t in_force, over;
};

/* -- list ----------------------------------------------------------------------------------- */

static json_t *json_block(const struct block *block, bool forever, bool in_force, int64_t left)
{
    char since[CTL_TIME], until[CTL_TIME];
    json_t *row = json_null();

    if (block->rule.table != TABLE_NONE) {
        row = json_pack("{s:s, s:I}", "table", table_name(block->rule.table), "row",
                        (json_int_t)block->rule.row);
    }
    return json_pack(
        "{s:o, s:s, s:o, s:o, s:b, s:o, s:o, s:o, s:I, s:b, s:o}", "subject",
        ctl_json_text(block->subject), "since", ctl_time_text(block->since, since), "until",
        forever ? json_null() : json_string(ctl_time_text(block->until, until)), "left",
        forever ? json_null() : json_integer((json_int_t)left), "in_force", in_force, "reason",
        block->reason != REASON_NONE ? json_string(reason_row(block->reason)->name) : json_null(),
        "row", row, "number",
        block->number != 0 ? json_integer((json_int_t)block->number) : json_null(), "strikes",
        (json_int_t)block->strikes, "by_hand", block->by_hand, "note", ctl_json_text(block->note));
}

static void print_block(const struct block *block, bool forever, int64_t left)
{
    char shown[4 * BLOCK_SUBJECT], note[4 * BLOCK_NOTE], since[CTL_TIME], until[CTL_TIME];
    char span[CTL_SPAN];

    printf("%s\n  since %s", ctl_plain(block->subject, shown, sizeof shown),
           ctl_time_text(block->since, since));
    if (forever) {
        printf(", until lifted");
    } else {
        printf(", until %s, left %s", ctl_time_text(block->until, until),
               ctl_span_text(left, span));
    }
    printf("\n  %s", block->by_hand ? "by hand" : "by itself");
    if (block->reason != REASON_NONE) {
        printf(", %s", reason_row(block->reason)->name);
    }
    if (block->rule.table != TABLE_NONE) {
        printf(", by %s %" PRId64, table_name(block->rule.table), block->rule.row);
    }
    if (block->number != 0) {
        printf(", #%" PRIu64, block->number);
    }
    printf(", strikes %u", block->strikes);
    if (block->note[0] != '\0') {
        printf(", note: %s", ctl_plain(block->note, note, sizeof note));
    }
    printf("\n");
}

static bool take(void *context, const struct block *block)
{
    struct blocks *listing = context;
    bool forever = block->until == INT64_MAX;
    int64_t left = forever ? 0 : (block->until - listing->ctl->now.wall + 999) / 1000;
    bool in_force = forever || block->until > listing->ctl->now.wall;

    listing->in_force += in_force;
    listing->over += !in_force;
    if (listing->array != NULL) {
        json_array_append_new(listing->array,
                              json_block(block, forever, in_force, in_force ? left : 0));
    } else if (in_force) {
        print_block(block, forever, left);
    }
    return true;
}

static int block_list(const struct ctl *ctl)
{
    struct blocks listing = {.ctl = ctl};
    struct statedb *db = NULL;
    struct why why = {""};
    enum status status = statedb_open(ctl->state, STATEDB_READ, CTL_WAIT_MS, &db, NULL, &why);

    if (status == STATUS_OK) {
        listing.array = ctl->json ? json_array() : NULL;
        status = statedb_blocks(db, take, &listing, &why);
    }
    statedb_close(db);
    if (status != STATUS_OK) {
        json_decref(listing.array);
        return ctl_fail(ctl, CTL_UNREACHABLE, "%s", why.text);
    }
    if (ctl->json) {
        ctl_print(json_pack("{s:b, s:I, s:o}", "ok", 1, "in_force", (json_int_t)listing.in_force,
                            "blocks", listing.array));
        return CTL_YES;
    }
    if (listing.in_force == 0) {
        printf("nobody is blocked\n");
    }
    if (listing.over > 0) {
        printf("%zu more ended less than a day ago; a next block of the same is longer\n",
               listing.over);
    }
    return CTL_YES;
}

/* -- add and lift --------------------------------------------------------------------------- */

/* A subject that the daemon could never take is told now, not when it starts. */
static int check_subject(const struct ctl *ctl, const char *subject, bool add)
{
    struct ctl_policy opened = {NULL, NULL};
    struct subjects subjects;
    char canonical[SUBJECT_TEXT];
    struct why why = {""};
    bool relay;

    if (strncmp(subject, "client:", 7) != 0 && strncmp(subject, "relay:", 6) != 0 &&
        strncmp(subject, "identity:", 9) != 0) {
        return ctl_fail(ctl, CTL_USAGE, "%s: write client:IP, relay:IP or identity:NAME", subject);
    }
    if (strlen(subject) >= BLOCK_SUBJECT) {
        return ctl_fail(ctl, CTL_USAGE, "SUBJECT is longer than %d octets", BLOCK_SUBJECT - 1);
    }
    /* A block that is there may be written otherwise, if client_prefix was changed since. A policy
     * that cannot be read is no reason not to block: the daemon has its own. */
    if (!add || ctl_policy_open(ctl->policy, ctl->now.wall, &opened, &why) != STATUS_OK) {
        return CTL_YES;
    }
    enum status status = subject_parse(opened.policy, subject, &subjects, &relay, canonical, &why);
    ctl_policy_close(&opened);
    return status == STATUS_OK ? CTL_YES : ctl_fail(ctl, CTL_USAGE, "%s", why.text);
}

/* argv[0] is add or lift. */
static int block_ask(const struct ctl *ctl, int argc, char **argv)
{
    static const struct option known[] = {{"for", required_argument, NULL, 'f'},
                                          {"note", required_argument, NULL, 'n'},
                                          {NULL, 0, NULL, 0}};
    static const struct option none[] = {{NULL, 0, NULL, 0}};
    struct statedb_request request;
    bool add = strcmp(argv[0], "add") == 0;
    int letter;

    memset(&request, 0, sizeof request);
    opterr = 0;
    optind = 0; /* from the beginning: the words are others now */
    while ((letter = getopt_long(argc, argv, ":", add ? known : none, NULL)) != -1) {
        if (letter == 'f') {
            if (!ctl_span_read(optarg, &request.seconds)) {
                return ctl_fail(ctl, CTL_USAGE, "--for %s: write 90s, 30m, 1h or 7d, at most 365d",
                                optarg);
            }
        } else if (letter == 'n') {
            if (strlen(optarg) >= sizeof request.note) {
                return ctl_fail(ctl, CTL_USAGE, "--note: at most %zu octets",
                                sizeof request.note - 1);
            }
            memcpy(request.note, optarg, strlen(optarg) + 1);
        } else {
            return ctl_fail(ctl, CTL_USAGE, "%s %s; %s", argv[optind - 1],
                            letter == ':' ? "needs a value" : "is not an option of this", USAGE);
        }
    }
    if (optind + 1 != argc) {
        return ctl_fail(ctl, CTL_USAGE, "%s takes one SUBJECT; %s", argv[0], USAGE);
    }
    int code = check_subject(ctl, argv[optind], add);
    if (code != CTL_YES) {
        return code;
    }
    snprintf(request.verb, sizeof request.verb, "%s", argv[0]);
    snprintf(request.subject, sizeof request.subject, "%s", argv[optind]);
    return ctl_ask_print(ctl, &request, true);
}

int verb_block(const struct ctl *ctl, int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        return block_list(ctl);
    }
    if (argc > 1 && (strcmp(argv[1], "add") == 0 || strcmp(argv[1], "lift") == 0)) {
        return block_ask(ctl, argc - 1, argv + 1);
    }
    return ctl_fail(ctl, CTL_USAGE, USAGE);
}
