/* sekisho init: a new policy, closed and sensible, never over an existing file. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <getopt.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/address.h"
#include "ctl.h"
#include "store/policydb.h"

#define USAGE "init takes --domain D ... [--hostname H]"

enum { DOMAINS_MOST = 1000 };

/* The daemon reads the file as group sekisho, where there is one. */
static void give_to_group(const char *path)
{
    const struct group *group = geteuid() == 0 ? getgrnam("sekisho") : NULL;

    if (group != NULL && chown(path, (uid_t)-1, group->gr_gid) != 0) {
        fprintf(stderr, "sekisho: %s: could not be given to the group sekisho\n", path);
    }
}

int verb_init(const struct ctl *ctl, int argc, char **argv)
{
    static const struct option known[] = {{"domain", required_argument, NULL, 'd'},
                                          {"hostname", required_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    static const char *domains[DOMAINS_MOST + 1];
    struct policydb_start start = {domains, NULL};
    char folded[ADDRESS_DOMAIN_ROOM], host[256] = "";
    size_t count = 0;
    struct why why;
    int letter;

    opterr = 0;
    while ((letter = getopt_long(argc, argv, ":", known, NULL)) != -1) {
        if (letter == 'd' && count < DOMAINS_MOST) {
            domains[count++] = optarg;
        } else if (letter == 'h') {
            start.host_name = optarg;
        } else if (letter == 'd') {
            return ctl_fail(ctl, CTL_USAGE, "more than %d domains; add rows to local_domain",
                            DOMAINS_MOST);
        } else {
            return ctl_fail(ctl, CTL_USAGE, "%s %s; %s", argv[optind - 1],
                            letter == ':' ? "needs a value" : "is not an option of init", USAGE);
        }
    }
    if (optind < argc) {
        return ctl_fail(ctl, CTL_USAGE, "%s is not an option of init; %s", argv[optind], USAGE);
    }
    if (count == 0) {
        return ctl_fail(ctl, CTL_USAGE, "--domain is missing; %s", USAGE);
    }
    if (start.host_name == NULL && gethostname(host, sizeof host - 1) == 0 &&
        strchr(host, '.') != NULL) {
        start.host_name = host;
    }
    for (size_t i = 0; i <= count; i++) {
        const char *name = i < count ? domains[i] : start.host_name;
        if (name != NULL && !domain_fold(name, strlen(name), folded)) {
            return ctl_fail(ctl, CTL_USAGE, "%s: not a domain name", name);
        }
    }
    enum status status = policydb_create(ctl->policy, &start, &why);
    if (status != STATUS_OK) {
        return ctl_fail(ctl, status == STATUS_BAD ? CTL_NO : CTL_USAGE, "%s", why.text);
    }
    give_to_group(ctl->policy);
    if (ctl->json) {
        json_t *list = json_array();
        for (size_t i = 0; i < count; i++) {
            json_array_append_new(list, json_string(domains[i]));
        }
        json_t *answer = json_pack("{s:b, s:s, s:o, s:s?}", "ok", 1, "policy", ctl->policy,
                                   "domains", list, "hostname", start.host_name);
        ctl_print(answer);
        return CTL_YES;
    }
    printf("%s: made, closed to strangers. Local domains:", ctl->policy);
    for (size_t i = 0; i < count; i++) {
        printf(" %s", domains[i]);
    }
    if (start.host_name != NULL) {
        printf("; this host is %s", start.host_name);
    } else {
        printf("; this host's name is not known (own_name)");
    }
    printf(".\nNext: add your own machines to client_host, then look with sekisho check.\n");
    return CTL_YES;
}
