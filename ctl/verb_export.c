/* sekisho export: ranges for nftables, ipset and Postfix, the policy for git. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/policy_limit.h"
#include "core/policy_pieces.h"
#include "ctl.h"
#include "store/policydump.h"
#include "store/statedb_block.h"

#define USAGE                                                                                      \
    "export takes nft, ipset, postfix-cidr or sql; nft and ipset [--blocks], which adds the "      \
    "blocks of now"

enum {
    IPSET_MOST = 16777216,   /* always the same: a set that is there is not made anew then */
    IPSET_TIMEOUT = 2147483, /* the longest that ipset takes */
    NFT_TIMEOUT = 31536000,
    OUTPUT = 65536
};

/* Which list a piece belongs to. */
enum set { SET_STRANGERS, SET_EVERYONE, SET_BLOCKED, SET_COUNT };

static const char *const set_names[SET_COUNT] = {"strangers", "everyone", "blocked"};

struct element {
    struct range range;
    int64_t left; /* of SET_BLOCKED: seconds, INT64_MAX = until lifted; 0 otherwise */
};

struct elements {
    struct element *items;
    size_t count, room;
};

struct export
{
    const struct ctl *ctl;
    bool blocks;
    struct ctl_policy opened;
    struct policy_block *blocked;
    size_t blocked_count, blocked_room;
    struct elements sets[SET_COUNT][2]; /* IPv4, IPv6 */
    size_t rows;
    bool no_memory;
};

/* -- what is refused ------------------------------------------------------------------------ */

static bool ip_follows(const struct ip *a, const struct ip *b)
{
    struct ip next = *a;

    for (int i = 15; i >= 0; i--) {
        if (++next.byte[i] != 0) {
            return ip_compare(&next, b) == 0;
        }
    }
    return false;
}

static void add_element(struct export *export, enum set set, const struct range *range,
                        int64_t left)
{
    struct elements *elements = &export->sets[set][!ip_is_ipv4(&range->first)];
    struct element *last = elements->count > 0 ? &elements->items[elements->count - 1] : NULL;

    if (last != NULL && last->left == left && ip_follows(&last->range.last, &range->first)) {
        last->range.last = range->last;
        return;
    }
    if (elements->count == elements->room) {
        size_t room = elements->room > 0 ? 2 * elements->room : 64;
        struct element *items = realloc(elements->items, room * sizeof *items);
        if (items == NULL) {
            export->no_memory = true;
            return;
        }
        elements->items = items;
        elements->room = room;
    }
    elements->items[elements->count++] = (struct element){*range, left};
}

static bool take_piece(void *context, const struct policy_piece *piece)
{
    struct export *export = context;

    if (piece->strangers) {
        add_element(export, SET_STRANGERS, &piece->range, 0);
    }
    if (piece->everyone) {
        add_element(export, SET_EVERYONE, &piece->range, 0);
    }
    if (piece->left > 0) {
        add_element(export, SET_BLOCKED, &piece->range, piece->left);
    }
    return !export->no_memory;
}

/* A block in force of a client, as the daemon counts it (book_block_key): an address stands for its
 * network under today's client_prefix; the network of another one says nothing now. */
static bool take_block(void *context, const struct block *block)
{
    struct export *export = context;
    bool forever = block->until == INT64_MAX, relay = false;
    int64_t left = forever ? INT64_MAX : (block->until - export->ctl->now.wall) / 1000;
    struct subjects subjects;
    char canonical[SUBJECT_TEXT];
    struct range range;

    if (left <= 0 || strncmp(block->subject, "client:", 7) != 0 ||
        subject_parse(export->opened.policy, block->subject, &subjects, &relay, canonical, NULL) !=
            STATUS_OK ||
        range_parse(canonical + 7, strlen(canonical + 7), &range, NULL) != STATUS_OK) {
        return true;
    }
    if (export->blocked_count == export->blocked_room) {
        size_t room = export->blocked_room > 0 ? 2 * export->blocked_room : 64;
        struct policy_block *blocked = realloc(export->blocked, room * sizeof *blocked);
        if (blocked == NULL) {
            export->no_memory = true;
            return false;
        }
        export->blocked = blocked;
        export->blocked_room = room;
    }
    export->blocked[export->blocked_count++] = (struct policy_block){range, left};
    return true;
}

static enum status gather(struct export *export, struct why *why)
{
    enum status status = STATUS_OK;

    if (export->blocks) {
        struct statedb *db = NULL;
        status = statedb_open(export->ctl->state, STATEDB_READ, CTL_WAIT_MS, &db, NULL, why);
        if (status == STATUS_OK) {
            status = statedb_blocks(db, take_block, export, why);
        }
        statedb_close(db);
        if (status == STATUS_BAD) {
            status = STATUS_BROKEN; /* of the state, not of the policy */
        }
    }
    if (status == STATUS_OK && !export->no_memory) {
        status = policy_pieces(export->opened.policy, export->blocked, export->blocked_count,
                               take_piece, export, why);
    }
    return export->no_memory && status == STATUS_OK
               ? why_set(why, STATUS_BROKEN, "no memory for so many ranges")
               : status;
}

/* -- blocks of a range ---------------------------------------------------------------------- */

static bool bit(const struct ip *ip, int n)
{
    return (ip->byte[n / 8] >> (7 - n % 8) & 1) != 0;
}

/* The largest block that begins where the range does and does not leave it, at least `least` bits
 * of 128 long. Takes it off the range; false: that was the last. */
static bool next_block(struct range *range, int least, struct range *block)
{
    int length = 128;

    block->first = block->last = range->first;
    while (length > least && !bit(&range->first, length - 1)) {
        struct ip wider = block->last;
        wider.byte[(length - 1) / 8] |= (unsigned char)(1 << (7 - (length - 1) % 8));
        if (ip_compare(&wider, &range->last) > 0) {
            break;
        }
        block->last = wider;
        length--;
    }
    if (ip_compare(&block->last, &range->last) == 0) {
        return false;
    }
    range->first = block->last;
    for (int i = 15; i >= 0 && ++range->first.byte[i] == 0; i--) {
    }
    return true;
}

/* Shortest length of a block in bits of 128: of its family, plus `more`. */
static int shortest(const struct range *range, int more)
{
    return (ip_is_ipv4(&range->first) ? 96 : 0) + more;
}

/* -- formats -------------------------------------------------------------------------------- */

static bool enforced(const struct export *export, enum check check)
{
    return policy_check_mode(export->opened.policy, check, NULL) == MODE_ENFORCE;
}

static void say_not_enforced(enum check check, const char *so)
{
    printf("# The check %s is not enforced (check_mode, setting mode): %s.\n", check_name(check),
           so);
}

static void say_until(const struct export *export)
{
    char until[CTL_TIME];
    int64_t next = policy_next_expiry(export->opened.policy);

    if (next != INT64_MAX) {
        printf("# Rows expire: good until %s UTC, then to be made anew.\n",
               ctl_time_text(next, until));
    }
}

/* "Tables" of the same two names: IPv4 and IPv6. */
static void say_sets(const struct export *export, const char *prefix)
{
    printf("# %sstrangers4, %sstrangers6: refused unless they log in; for port 25.\n", prefix,
           prefix);
    printf("# %severyone4, %severyone6: refused with a login, too; for ports 25, 465 and 587.\n",
           prefix, prefix);
    if (export->blocks) {
        printf("# %sblocked4, %sblocked6: blocked for a time, as strangers; for port 25.\n", prefix,
               prefix);
    }
    printf("# Whom a router drops reaches no postmaster either (receive_only).\n");
    if (!enforced(export, CHECK_LISTED)) {
        say_not_enforced(CHECK_LISTED, "strangers and everyone are empty");
    }
    if (export->blocks && !enforced(export, CHECK_BLOCK)) {
        say_not_enforced(CHECK_BLOCK, "blocked is empty");
    }
    say_until(export);
}

static int64_t timeout(int64_t left, int64_t most)
{
    return left < most ? left : most;
}

/* The block of the table comes last, as a whole: half a file is no file for nft. */
static void print_nft(const struct export *export)
{
    char text[RANGE_TEXT];

    printf("# sekisho export nft: whom the policy refuses. nft -f replaces what is in the sets, at "
           "once.\n");
    say_sets(export, "");
    printf("# Chains of your own may stand in this table, and stay:\n"
           "#   nft add chain inet sekisho in '{ type filter hook input priority -10; }'\n"
           "#   nft add rule inet sekisho in tcp dport 25 ip saddr @strangers4 drop\n"
           "#   nft add rule inet sekisho in tcp dport 25 ip6 saddr @strangers6 drop\n"
           "\nadd table inet sekisho\n");
    for (int pass = 0; pass < 2; pass++) {
        printf("%s", pass == 0 ? "" : "\ntable inet sekisho {\n");
        for (int set = 0; set < (export->blocks ? SET_COUNT : SET_BLOCKED); set++) {
            const char *flags = set == SET_BLOCKED ? "interval, timeout" : "interval";
            for (int six = 0; six < 2; six++) {
                const struct elements *elements = &export->sets[set][six];
                const char *type = six ? "ipv6_addr" : "ipv4_addr";
                if (pass == 0) {
                    printf("add set inet sekisho %s%d { type %s; flags %s; }\n"
                           "flush set inet sekisho %s%d\n",
                           set_names[set], six ? 6 : 4, type, flags, set_names[set], six ? 6 : 4);
                    continue;
                }
                printf("\tset %s%d {\n\t\ttype %s\n\t\tflags %s\n", set_names[set], six ? 6 : 4,
                       type, flags);
                printf("%s", elements->count > 0 ? "\t\telements = {\n" : "");
                for (size_t i = 0; i < elements->count; i++) {
                    const struct element *element = &elements->items[i];
                    range_text(&element->range, text);
                    printf("\t\t\t%s", text);
                    if (set == SET_BLOCKED && element->left != INT64_MAX) {
                        printf(" timeout %" PRId64 "s", timeout(element->left, NFT_TIMEOUT));
                    }
                    printf(",\n");
                }
                printf("%s\t}\n", elements->count > 0 ? "\t\t}\n" : "");
            }
        }
    }
    printf("}\n");
}

/* Each set is filled under another name and then takes the place of the one in use. */
static void print_ipset(const struct export *export)
{
    char text[RANGE_TEXT], name[32];
    struct range block;

    printf(
        "# sekisho export ipset: whom the policy refuses, for ipset restore. The sets in use are "
        "replaced\n# at the end, each at once.\n");
    say_sets(export, "sekisho-");
    for (int set = 0; set < (export->blocks ? SET_COUNT : SET_BLOCKED); set++) {
        const char *times = set == SET_BLOCKED ? " timeout 0" : "";
        for (int six = 0; six < 2; six++) {
            const struct elements *elements = &export->sets[set][six];
            const char *family = six ? "inet6" : "inet";
            snprintf(name, sizeof name, "sekisho-%s%d", set_names[set], six ? 6 : 4);
            for (int new = 0; new < 2; new ++) {
                printf("create %s%s hash:net family %s maxelem %d%s -exist\n", name,
                       new ? "-new" : "", family, IPSET_MOST, times);
            }
            printf("flush %s-new\n", name);
            for (size_t i = 0; i < elements->count; i++) {
                const struct element *element = &elements->items[i];
                struct range rest = element->range;
                bool more = true;
                while (more) {
                    /* hash:net has no /0 */
                    more = next_block(&rest, shortest(&rest, 1), &block);
                    range_text(&block, text);
                    printf("add %s-new %s", name, text);
                    if (set == SET_BLOCKED && element->left != INT64_MAX) {
                        printf(" timeout %" PRId64, timeout(element->left, IPSET_TIMEOUT));
                    }
                    printf("\n");
                }
            }
        }
    }
    for (int set = 0; set < (export->blocks ? SET_COUNT : SET_BLOCKED); set++) {
        for (int six = 0; six < 2; six++) {
            snprintf(name, sizeof name, "sekisho-%s%d", set_names[set], six ? 6 : 4);
            printf("swap %s-new %s\ndestroy %s-new\n", name, name, name);
        }
    }
}

static bool print_row(void *context, const struct policy_listed_row *row)
{
    struct export *export = context;
    enum reason reason =
        row->listing == LISTING_REJECT ? REASON_CLIENT_LISTED : REASON_CLIENT_DEFERRED;
    char text[RANGE_TEXT], rule[RULE_TEXT];
    struct range parts[2], block;
    size_t count = policy_parts(&row->range, ip_is_ipv4(&row->range.first), parts);

    export->rows++;
    printf("# %s\n", policy_rule_text(export->opened.policy, row->rule, rule));
    for (size_t part = 0; part < count; part++) {
        bool more = true;
        while (more && ferror(stdout) == 0) {
            more = next_block(&parts[part], shortest(&parts[part], 0), &block);
            range_text(&block, text);
            if (row->listing == LISTING_ACCEPT) {
                printf("%s DUNNO\n", text);
            } else {
                printf("%s %s %s [sekisho %s, %s %" PRId64 "]\n", text,
                       row->listing == LISTING_REJECT ? "REJECT" : "DEFER",
                       reason_row(reason)->reply, reason_row(reason)->name,
                       table_name(row->rule.table), row->rule.row);
            }
        }
    }
    return ferror(stdout) == 0;
}

static enum status print_cidr(struct export *export, struct why *why)
{
    printf(
        "# sekisho export postfix-cidr: ip_range and client_host for check_client_access, the "
        "narrowest first.\n"
        "# To stand behind permit_mynetworks and permit_sasl_authenticated: strangers are meant.\n"
        "# DUNNO, where the policy says accept: OK would let the client relay.\n"
        "# REJECT and DEFER here also hit mail to receive_only recipients (postmaster, abuse), "
        "which "
        "sekisho\n"
        "# lets through. For them put a check_recipient_access with postmaster and abuse of your "
        "domains in\n"
        "# front of this table, in the same list, behind reject_unauth_destination: "
        "\"postmaster@example.com OK\".\n");
    if (!enforced(export, CHECK_LISTED)) {
        say_not_enforced(CHECK_LISTED, "nobody is refused");
    }
    say_until(export);
    return policy_listed_rows(export->opened.policy, print_row, export, why);
}

static bool print_octets(void *context, const char *text, size_t size)
{
    (void)context;
    return fwrite(text, 1, size, stdout) == size;
}

/* -- the verb ------------------------------------------------------------------------------- */

static enum status print_export(struct export *export, const char *format, struct why *why)
{
    size_t others = 0;
    enum status status = STATUS_OK;

    if (strcmp(format, "sql") == 0) {
        status = policydump(export->opened.db, print_octets, NULL, &others, why);
        if (others > 0) {
            fprintf(stderr,
                    "sekisho: %zu tables, views or triggers that are not the policy's were "
                    "left out\n",
                    others);
        }
        return status;
    }
    if (strcmp(format, "postfix-cidr") == 0) {
        return print_cidr(export, why);
    }
    status = gather(export, why);
    if (status == STATUS_OK && strcmp(format, "nft") == 0) {
        print_nft(export);
    } else if (status == STATUS_OK) {
        print_ipset(export);
    }
    return status;
}

int verb_export(const struct ctl *ctl, int argc, char **argv)
{
    static const struct option known[] = {{"blocks", no_argument, NULL, 'b'}, {NULL, 0, NULL, 0}};
    static const char *const formats[] = {"nft", "ipset", "postfix-cidr", "sql"};
    static char buffer[OUTPUT];
    static struct export export;
    struct why why = {""};
    const char *format = NULL;
    int letter;

    export.ctl = ctl;
    opterr = 0;
    optind = 0; /* from the beginning: options may stand behind the format here */
    while ((letter = getopt_long(argc, argv, ":", known, NULL)) != -1) {
        if (letter != 'b') {
            return ctl_fail(ctl, CTL_USAGE, "%s is not an option of export; %s", argv[optind - 1],
                            USAGE);
        }
        export.blocks = true;
    }
    for (size_t i = 0; optind + 1 == argc && i < sizeof formats / sizeof formats[0]; i++) {
        format = strcmp(argv[optind], formats[i]) == 0 ? formats[i] : format;
    }
    if (format == NULL) {
        return ctl_fail(ctl, CTL_USAGE, USAGE);
    }
    if (export.blocks && strcmp(format, "nft") != 0 && strcmp(format, "ipset") != 0) {
        return ctl_fail(ctl, CTL_USAGE, "--blocks is for nft and ipset, which forget them in time");
    }
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    enum status status = ctl_policy_open(ctl->policy, ctl->now.wall, &export.opened, &why);
    int code = ctl_exit_of(status);
    if (status == STATUS_OK) {
        status = print_export(&export, format, &why);
        code = ctl_exit_of(status);
    }
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        fprintf(stderr, "sekisho: standard output: %s\n", strerror(errno));
        code = CTL_USAGE;
    } else if (status != STATUS_OK) {
        ctl_fail(ctl, code, "%s", why.text);
    }
    for (size_t set = 0; set < SET_COUNT; set++) {
        free(export.sets[set][0].items);
        free(export.sets[set][1].items);
    }
    free(export.blocked);
    ctl_policy_close(&export.opened);
    return code;
}
