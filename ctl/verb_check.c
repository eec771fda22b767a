/* sekisho check: would this policy load? Every bad row as a sentence with table and row. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>

#include "core/policy_seal.h"
#include "core/proof.h"
#include "ctl.h"

struct findings {
    const struct ctl *ctl;
    json_t *list;
    size_t count;
};

static void say_fault(void *context, const struct policydb_fault *fault)
{
    struct findings *findings = context;

    findings->count++;
    if (findings->ctl->json) {
        json_array_append_new(findings->list,
                              json_pack("{s:s, s:I, s:s}", "table", table_name(fault->table), "row",
                                        (json_int_t)fault->row, "fault", fault->sentence));
    } else {
        printf("%s\n", fault->sentence);
    }
}

int verb_check(const struct ctl *ctl, int argc, char **argv)
{
    struct findings findings = {ctl, NULL, 0};
    struct policydb *db = NULL;
    struct policy_build *build = NULL;
    struct policy *policy = NULL;
    struct why why = {""};
    size_t cases = 0;

    if (argc > 1) {
        return ctl_fail(ctl, CTL_USAGE, "%s: check takes no arguments", argv[1]);
    }
    enum status status = policydb_open(ctl->policy, CTL_WAIT_MS, &db, &why);
    if (status != STATUS_OK) {
        return ctl_fail(ctl, ctl_exit_of(status), "%s", why.text);
    }
    findings.list = ctl->json ? json_array() : NULL;
    status = policydb_read(db, say_fault, &findings, &build, &why);
    policydb_close(db);
    if (status == STATUS_OK) {
        status = policy_seal(build, ctl->now.wall, &policy, &why);
        if (status == STATUS_OK) {
            status = proof_run(policy, NULL, NULL, &cases, &why);
        }
        if (status != STATUS_OK) {
            struct policydb_fault fault = {TABLE_NONE, 0, why.text};
            say_fault(&findings, &fault);
        }
    }
    if (ctl->json) {
        json_t *answer =
            json_pack("{s:b, s:s, s:I, s:I, s:o}", "ok", status == STATUS_OK, "policy", ctl->policy,
                      "rows", (json_int_t)(policy != NULL ? policy_row_count(policy) : 0),
                      "battery", (json_int_t)cases, "faults", findings.list);
        ctl_print(answer);
    } else if (status == STATUS_OK) {
        printf("%s: good, %zu rows; %zu forged sessions of the open-relay battery were refused\n",
               ctl->policy, policy_row_count(policy), cases);
    } else {
        printf("%s: would not load, %zu fault%s; the policy in force would stay\n", ctl->policy,
               findings.count, findings.count == 1 ? "" : "s");
    }
    policy_free(policy);
    policy_build_free(build);
    return ctl_exit_of(status);
}
