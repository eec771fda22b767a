/* sekisho import: a list into one table, all or nothing; each bad line is named. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/policy_seal.h"
#include "core/proof.h"
#include "ctl.h"
#include "listfile.h"
#include "store/policyedit.h"

#define USAGE                                                                                      \
    "import takes TABLE FILE [--source NAME | --replace] [--set COLUMN=VALUE] ...; FILE - is "     \
    "standard input"

enum {
    FAULTS_SHOWN = 20,
    STOP_EVERY = 256 /* rows */
};

/* One bad line, or the policy's own fault at line 0. */
struct fault {
    uint32_t line;
    struct why why;
};

struct import {
    const struct ctl *ctl;
    enum table table;
    const char *file, *source;
    bool replace;
    const char *columns[POLICYEDIT_COLUMNS];
    const char *set[POLICYEDIT_COLUMNS]; /* NULL: not given */
    struct listfile *list;
    struct policyedit *edit;
    struct fault faults[FAULTS_SHOWN]; /* the first in the list, in its order */
    size_t bad, entries, did[POLICYEDIT_REPEATED + 1], removed, rows, cases;
};

static volatile sig_atomic_t stopped;

static void stop(int number)
{
    stopped = number;
}

/* -- words ---------------------------------------------------------------------------------- */

static size_t column_named(const struct import *import, const char *name, size_t size)
{
    size_t i = 0;

    while (import->columns[i] != NULL &&
           (strlen(import->columns[i]) != size || memcmp(import->columns[i], name, size) != 0)) {
        i++;
    }
    return i;
}

static char *column_list(const struct import *import, char *to, size_t room)
{
    size_t used = 0;

    for (size_t i = 0; import->columns[i] != NULL && used < room; i++) {
        int length =
            snprintf(to + used, room - used, "%s%s", i > 0 ? ", " : "", import->columns[i]);
        used += length > 0 ? (size_t)length : 0;
    }
    return to;
}

/* COLUMN=VALUE. */
static int take_set(struct import *import, const char *word)
{
    const char *sign = strchr(word, '=');
    size_t i = sign != NULL ? column_named(import, word, (size_t)(sign - word)) : 0;
    char names[128];

    if (sign == NULL || import->columns[i] == NULL) {
        return ctl_fail(import->ctl, CTL_USAGE, "--set %s: write COLUMN=VALUE; columns of %s: %s",
                        word, table_name(import->table), column_list(import, names, sizeof names));
    }
    if (import->set[i] != NULL) {
        return ctl_fail(import->ctl, CTL_USAGE, "the column %s is set twice", import->columns[i]);
    }
    import->set[i] = sign + 1;
    return CTL_YES;
}

static int take_table(struct import *import, const char *name)
{
    char names[512] = "";
    size_t used = 0;

    import->table = table_named(name);
    if (import->table != TABLE_NONE) {
        policyedit_columns(import->table, import->columns);
        return CTL_YES;
    }
    for (int t = TABLE_NONE + 1; t < TABLE_COUNT && used < sizeof names; t++) {
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used > 0 ? ", " : "",
                                 table_name((enum table)t));
    }
    return ctl_fail(import->ctl, CTL_USAGE, "%.100s: not a table; there are %s", name, names);
}

static int take_words(struct import *import, int argc, char **argv)
{
    static const struct option known[] = {{"source", required_argument, NULL, 's'},
                                          {"replace", no_argument, NULL, 'r'},
                                          {"set", required_argument, NULL, 'v'},
                                          {NULL, 0, NULL, 0}};
    const char *sets[POLICYEDIT_COLUMNS];
    int letter, count = 0, code;

    opterr = 0;
    optind = 0; /* from the beginning: options may stand behind TABLE and FILE here */
    while ((letter = getopt_long(argc, argv, ":", known, NULL)) != -1) {
        if (letter == 's') {
            import->source = optarg;
        } else if (letter == 'r') {
            import->replace = true;
        } else if (letter == 'v' && count < POLICYEDIT_COLUMNS) {
            sets[count++] = optarg;
        } else {
            return ctl_fail(import->ctl, CTL_USAGE, "%s %s; %s", argv[optind - 1],
                            letter == ':'   ? "needs a value"
                            : letter == 'v' ? "is too much"
                                            : "is not an option of import",
                            USAGE);
        }
    }
    if (optind + 2 != argc) {
        return ctl_fail(import->ctl, CTL_USAGE, "%s; %s",
                        optind + 2 > argc ? "TABLE or FILE is missing" : "that is too much", USAGE);
    }
    code = take_table(import, argv[optind]);
    import->file = argv[optind + 1];
    for (int i = 0; i < count && code == CTL_YES; i++) {
        code = take_set(import, sets[i]);
    }
    if (code == CTL_YES && import->table == TABLE_IP_RANGE && import->source == NULL &&
        import->replace && import->set[column_named(import, "source", 6)] != NULL) {
        return ctl_fail(
            import->ctl, CTL_USAGE,
            "--replace without --source is for the administrator's own rows; to replace "
            "those of a source write --source NAME");
    }
    if (code != CTL_YES || import->source == NULL) {
        return code;
    }
    if (import->table != TABLE_IP_RANGE) {
        return ctl_fail(import->ctl, CTL_USAGE, "--source is for ip_range; %s has no sources",
                        table_name(import->table));
    }
    size_t column = column_named(import, "source", 6);
    if (import->set[column] != NULL) {
        return ctl_fail(import->ctl, CTL_USAGE, "the column source is set twice");
    }
    import->set[column] = import->source;
    import->replace = true;
    return CTL_YES;
}

/* What is set for all rows cannot come from the list too, nor can a list of several sources replace
 * one. */
static int check_header(const struct import *import)
{
    const bool *named = listfile_header(import->list);

    for (size_t i = 0; named != NULL && import->columns[i] != NULL; i++) {
        if (named[i] && import->set[i] != NULL) {
            return ctl_fail(import->ctl, CTL_USAGE, "%s: has a column %s, which is set to \"%s\"",
                            import->file, import->columns[i], import->set[i]);
        }
        if (named[i] && import->replace && strcmp(import->columns[i], "source") == 0) {
            return ctl_fail(import->ctl, CTL_USAGE,
                            "%s: has a column source; --replace is for one source, --source NAME",
                            import->file);
        }
    }
    return CTL_YES;
}

/* -- faults --------------------------------------------------------------------------------- */

static void add_fault(struct import *import, uint32_t line, const char *sentence)
{
    size_t shown = import->bad < FAULTS_SHOWN ? import->bad : FAULTS_SHOWN, at = shown;

    import->bad++;
    while (at > 0 && import->faults[at - 1].line > line) {
        at--;
    }
    if (at == FAULTS_SHOWN) {
        return;
    }
    size_t last = shown < FAULTS_SHOWN ? shown : FAULTS_SHOWN - 1;
    memmove(&import->faults[at + 1], &import->faults[at], (last - at) * sizeof import->faults[0]);
    import->faults[at].line = line;
    snprintf(import->faults[at].why.text, sizeof import->faults[at].why.text, "%s", sentence);
}

/* A sentence that begins with table and row, or holds them: the line they are from, 0 if none; rest
 * is what stands behind "TABLE ROW: ". */
static uint32_t line_of(const struct import *import, const char *sentence, const char **rest)
{
    const char *name = table_name(import->table), *at = sentence;
    size_t size = strlen(name);
    long long row;

    *rest = sentence;
    while ((at = strstr(at, name)) != NULL) {
        char *end = NULL;
        bool begins = at == sentence || at[-1] == ' ' || at[-1] == '(';
        if (begins && at[size] == ' ' && (row = strtoll(at + size + 1, &end, 10)) > 0) {
            uint32_t line = policyedit_line(import->edit, row);
            if (line != 0) {
                *rest = at == sentence && strncmp(end, ": ", 2) == 0 ? end + 2 : sentence;
                return line;
            }
        }
        at += size;
    }
    return 0;
}

static void take_fault(void *context, const struct policydb_fault *fault)
{
    struct import *import = context;
    const char *rest = fault->sentence;
    uint32_t line = line_of(import, fault->sentence, &rest);

    add_fault(import, line, rest);
}

static int say_faults(const struct import *import, bool by_line)
{
    size_t shown = import->bad < FAULTS_SHOWN ? import->bad : FAULTS_SHOWN;
    int code = by_line ? CTL_NO : CTL_INVALID;
    char file[4096];

    if (import->ctl->json) {
        json_t *faults = json_array();
        for (size_t i = 0; i < shown; i++) {
            const struct fault *fault = &import->faults[i];
            json_array_append_new(
                faults, json_pack("{s:o, s:s}", "line",
                                  fault->line != 0 ? json_integer(fault->line) : json_null(),
                                  "fault", fault->why.text));
        }
        ctl_print(json_pack("{s:b, s:s, s:o, s:I, s:I, s:o}", "ok", 0, "table",
                            table_name(import->table), "file", ctl_json_text(import->file), "bad",
                            (json_int_t)import->bad, "entries", (json_int_t)import->entries,
                            "faults", faults));
        return code;
    }
    ctl_plain(import->file, file, sizeof file);
    for (size_t i = 0; i < shown; i++) {
        if (import->faults[i].line != 0) {
            printf("%s:%" PRIu32 ": %s\n", file, import->faults[i].line,
                   import->faults[i].why.text);
        } else {
            printf("%s\n", import->faults[i].why.text);
        }
    }
    if (import->bad > shown) {
        printf("... and %zu more\n", import->bad - shown);
    }
    if (by_line) {
        printf("%s: %zu of %zu entries are bad; nothing was imported\n", file, import->bad,
               import->entries);
    } else {
        printf("%s: would not load with this list; nothing was imported\n", import->ctl->policy);
    }
    return code;
}

/* -- the edit ------------------------------------------------------------------------------- */

static int fail(const struct import *import, enum status status, const struct why *why)
{
    if (stopped != 0) {
        return ctl_fail(import->ctl, CTL_UNREACHABLE, "interrupted; nothing was imported");
    }
    return ctl_fail(import->ctl, ctl_exit_of(status), "%s; nothing was imported", why->text);
}

static int take_rows(struct import *import)
{
    struct policyedit_cell cells[POLICYEDIT_COLUMNS];
    enum policyedit_did did = POLICYEDIT_ADDED;
    uint32_t line;
    struct why why;

    for (;;) {
        enum status status = listfile_next(import->list, cells, &line, &why);
        if (line == 0) {
            return status == STATUS_OK ? CTL_YES : fail(import, status, &why);
        }
        if (import->entries++ % STOP_EVERY == 0 && stopped != 0) {
            return fail(import, STATUS_BUSY, &why);
        }
        for (size_t i = 0; status == STATUS_OK && import->columns[i] != NULL; i++) {
            if (import->set[i] == NULL) {
                if (import->replace && cells[i].text != NULL &&
                    strcmp(import->columns[i], "source") == 0) {
                    status = why_set(&why, STATUS_BAD,
                                     "has a source; --replace is for rows that have none");
                }
                continue;
            }
            /* a remark of the list is no contradiction */
            if (cells[i].text != NULL && strcmp(import->columns[i], "note") != 0) {
                status = why_set(&why, STATUS_BAD, "has a %s of its own", import->columns[i]);
            } else if (cells[i].text == NULL) {
                cells[i] = (struct policyedit_cell){import->set[i], strlen(import->set[i])};
            }
        }
        if (status == STATUS_OK) {
            status = policyedit_row(import->edit, cells, line, &did, &why);
        }
        if (status == STATUS_BAD) {
            add_fault(import, line, why.text);
        } else if (status != STATUS_OK) {
            return fail(import, status, &why);
        } else {
            import->did[did]++;
        }
    }
}

/* As sekisho check has it, before the commit. */
static int check_policy(struct import *import)
{
    struct policy_build *build = NULL;
    struct policy *policy = NULL;
    struct why why = {""};
    bool by_line = import->bad > 0;
    enum status status =
        policydb_read(policyedit_policy(import->edit), take_fault, import, &build, &why);

    if (status == STATUS_OK && import->bad == 0) {
        status = policy_seal(build, import->ctl->now.wall, &policy, &why);
        if (status == STATUS_OK) {
            import->rows = policy_row_count(policy);
            status = proof_run(policy, NULL, NULL, &import->cases, &why);
        }
        if (status == STATUS_BAD) {
            take_fault(import, &(struct policydb_fault){TABLE_NONE, 0, why.text});
        }
    } else if (status == STATUS_BAD) {
        /* a row that only the program finds bad is a bad line like others */
        by_line = import->faults[0].line != 0;
    }
    policy_free(policy);
    policy_build_free(build);
    if (status != STATUS_OK && status != STATUS_BAD) {
        return fail(import, status, &why);
    }
    return import->bad > 0 ? say_faults(import, by_line) : CTL_YES;
}

static void say_done(const struct import *import)
{
    const size_t *did = import->did;
    char file[4096];

    if (import->ctl->json) {
        ctl_print(json_pack(
            "{s:b, s:s, s:s, s:o, s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "ok", 1,
            "policy", import->ctl->policy, "table", table_name(import->table), "file",
            ctl_json_text(import->file), "source",
            import->source != NULL ? ctl_json_text(import->source) : json_null(), "csv",
            listfile_header(import->list) != NULL, "entries", (json_int_t)import->entries, "added",
            (json_int_t)did[POLICYEDIT_ADDED], "changed", (json_int_t)did[POLICYEDIT_CHANGED],
            "kept", (json_int_t)did[POLICYEDIT_KEPT], "repeated",
            (json_int_t)did[POLICYEDIT_REPEATED], "removed", (json_int_t)import->removed, "rows",
            (json_int_t)import->rows, "battery", (json_int_t)import->cases));
        return;
    }
    printf("%s: %zu entries of %s: %zu rows added, %zu changed, %zu were there, %zu removed",
           table_name(import->table), import->entries, ctl_plain(import->file, file, sizeof file),
           did[POLICYEDIT_ADDED], did[POLICYEDIT_CHANGED], did[POLICYEDIT_KEPT], import->removed);
    if (did[POLICYEDIT_REPEATED] > 0) {
        printf(", %zu entries repeated", did[POLICYEDIT_REPEATED]);
    }
    printf("\n%s: good, %zu rows; %zu forged sessions of the open-relay battery were refused\n",
           import->ctl->policy, import->rows, import->cases);
}

static int run(struct import *import)
{
    struct why why = {""};
    enum status status = listfile_open(import->file, import->table, &stopped, &import->list, &why);

    if (status != STATUS_OK) {
        return stopped != 0 ? fail(import, status, &why)
                            : ctl_fail(import->ctl, status == STATUS_BAD ? CTL_NO : CTL_USAGE,
                                       "%s; nothing was imported", why.text);
    }
    int code = check_header(import);
    if (code != CTL_YES) {
        return code;
    }
    status = policyedit_begin(import->ctl->policy, import->table, import->replace, import->source,
                              CTL_WAIT_MS, &import->edit, &why);
    if (status != STATUS_OK) {
        return fail(import, status, &why);
    }
    code = take_rows(import);
    if (code != CTL_YES) {
        return code;
    }
    if (import->replace && import->entries == 0) {
        return ctl_fail(import->ctl, CTL_NO,
                        "%s: has no entry; rows are not replaced by nothing (DELETE FROM %s)",
                        import->file, table_name(import->table));
    }
    if (import->replace && import->bad == 0) {
        status = policyedit_sweep(import->edit, &import->removed, &why);
    }
    if (status != STATUS_OK || stopped != 0) {
        return fail(import, status, &why);
    }
    code = check_policy(import);
    if (code != CTL_YES) {
        return code;
    }
    status = stopped == 0 ? policyedit_commit(import->edit, &why) : STATUS_BROKEN;
    if (status != STATUS_OK) {
        return fail(import, status, &why);
    }
    say_done(import);
    return CTL_YES;
}

int verb_import(const struct ctl *ctl, int argc, char **argv)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    static struct import import;
    struct sigaction action;

    import.ctl = ctl;
    int code = take_words(&import, argc, argv);
    if (code != CTL_YES) {
        return code;
    }
    /* Whoever stops it finds no half edit, which only its owner could roll back. */
    memset(&action, 0, sizeof action);
    action.sa_handler = stop;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        sigaction(signals[i], &action, NULL);
    }
    signal(SIGPIPE, SIG_IGN); /* faults are told while the edit is open */
    code = run(&import);
    policyedit_close(import.edit);
    listfile_close(import.list);
    return code;
}
