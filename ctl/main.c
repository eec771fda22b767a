/* sekisho: the administrator's tool; finds the verb and calls it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <getopt.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
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
};

static void usage(FILE *to)
{
    fprintf(to, "usage: sekisho [--policy FILE] [--state FILE] [--json] VERB ...\n");
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        fprintf(to, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
    }
}

int ctl_fail(const struct ctl *ctl, int code, const char *format, ...)
{
    char sentence[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    if (ctl->json) {
        json_t *answer = json_pack("{s:b, s:s}", "ok", 0, "error", sentence);
        if (answer != NULL) {
            json_dumpf(answer, stdout, JSON_INDENT(2));
            printf("\n");
            json_decref(answer);
            return code;
        }
    }
    fprintf(stderr, "sekisho: %s\n", sentence);
    return code;
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
        usage(stderr);
        return CTL_USAGE;
    }
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(argv[optind], verbs[i].name) == 0) {
            int first = optind;
            optind = 1;
            return verbs[i].run(&ctl, argc - first, argv + first);
        }
    }
    ctl_fail(&ctl, CTL_USAGE, "%s: not a verb", argv[optind]);
    usage(stderr);
    return CTL_USAGE;
}
