/* sekisho: the administrator's tool; finds the verb and calls it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl.h"

static const struct {
    const char *name;
    ctl_verb *run;
    const char *summary;
} verbs[] = {
    {"init", verb_init, "--domain D ... [--hostname H]: make a new policy"},
    {"check", verb_check, "would this policy load? every bad row, by table and row"},
    {"explain", verb_explain,
     "--client IP [--helo NAME] [--login L | --window L] --from S --to R [--at TIME]\n"
     "           [--listener IP] [--host NAME]: how it would be judged, check by check; or NUMBER, "
     "or REASON"},
    {"prove", verb_prove, "the open-relay battery against this policy"},
    {"log", verb_log,
     "[--since T] [--until T] [--client IP|RANGE] [--login L] [--from S|@DOMAIN] [--to R|@DOMAIN]\n"
     "           [--reason R] [--action accept|reject|tempfail] [--number N] [--last N] "
     "[--follow]:\n"
     "           decisions, one a line; T is 24h, 7d or UTC 2026-11-24T03:00:00Z"},
    {"block", verb_block,
     "list | add SUBJECT [--for 1h] [--note TEXT] | lift SUBJECT: who is refused for a time;\n"
     "           SUBJECT is client:IP, identity:NAME or relay:IP"},
    {"window", verb_window,
     "open IP --login L [--for 30s] | close IP | list: a login window (POP-before-SMTP), off "
     "unless\n"
     "           the setting login_window_seconds says how long"},
    {"usage", verb_usage, "[SUBJECT] | reset SUBJECT: how near to which limit"},
    {"replay", verb_replay,
     "--with CANDIDATE [--since T] [--until T] [--client IP|RANGE] [--login L] [--from S|@DOMAIN]\n"
     "           [--to R|@DOMAIN] [--reason R] [--action accept|reject|tempfail] [--number N]\n"
     "           [--most N] [--all]: judges the recorded decisions of the last 7d, or since T, by\n"
     "           another policy and lists what would differ"},
    {"report", verb_report,
     "[--since T] [--html FILE | --mail [ADDR] [--alarm FILE] [--sendmail PROGRAM]]: what "
     "happened,\n"
     "           for a person; --alarm FILE: only when there is something new since FILE was "
     "written"},
    {"import", verb_import,
     "TABLE FILE [--source NAME | --replace] [--set COLUMN=VALUE] ...: a list into a table, all "
     "or\n"
     "           nothing, each bad line named; FILE - is standard input"},
    {"export", verb_export,
     "nft [--blocks] | ipset [--blocks] | postfix-cidr | sql: ranges for the router and for\n"
     "           Postfix, the policy for git"},
    {"status", verb_status, "does the daemon run, which policy is in force, what was refused"},
};

static void usage(FILE *to)
{
    fprintf(to, "usage: sekisho [--policy FILE] [--state FILE] [--json] VERB ...\n"
                "       sekisho --help | --version\n");
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        fprintf(to, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
    }
}

/* --json may also stand behind the verb, where people write it. Returns the new argc. */
static int take_json(struct ctl *ctl, int argc, char **argv)
{
    int kept = 0;

    for (int i = 0; i < argc; i++) {
        if (i > 0 && strcmp(argv[i], "--json") == 0) {
            ctl->json = true;
        } else {
            argv[kept++] = argv[i];
        }
    }
    argv[kept] = NULL;
    return kept;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"policy", required_argument, NULL, 'p'}, {"state", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},         {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},      {NULL, 0, NULL, 0}};
    struct ctl ctl = {.policy = "/etc/sekisho/policy.db", .state = "/var/lib/sekisho/state.db"};
    struct timespec wall = {0, 0};
    int letter;

    clock_gettime(CLOCK_REALTIME, &wall);
    ctl.now.wall = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000;
    /* "+": the options of a verb are its own */
    while ((letter = getopt_long(argc, argv, "+", known, NULL)) != -1) {
        switch (letter) {
        case 'p':
            ctl.policy = optarg;
            break;
        case 's':
            ctl.state = optarg;
            break;
        case 'j':
            ctl.json = true;
            break;
        case 'h':
            usage(stdout);
            return CTL_YES;
        case 'v':
            printf("sekisho %s\n", SEKISHO_VERSION);
            return CTL_YES;
        default:
            usage(stderr);
            return CTL_USAGE;
        }
    }
    if (optind >= argc) {
        ctl_fail(&ctl, CTL_USAGE, "no verb");
        usage(stderr);
        return CTL_USAGE;
    }
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(argv[optind], verbs[i].name) == 0) {
            int first = optind;
            optind = 1;
            int words = take_json(&ctl, argc - first, argv + first);
            int code = verbs[i].run(&ctl, words, argv + first);
            if (fflush(stdout) != 0 || ferror(stdout)) {
                return ctl_fail(&ctl, CTL_USAGE, "the answer could not be written");
            }
            return code;
        }
    }
    ctl_fail(&ctl, CTL_USAGE, "%s: not a verb", argv[optind]);
    usage(stderr);
    return CTL_USAGE;
}
