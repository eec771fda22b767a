/* What a policy weighs: time of each stage of a load, and bytes held. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <sqlite3.h>
#include <stdio.h>
#include <time.h>

#include "core/policy_seal.h"
#include "core/proof.h"
#include "store/policydb.h"

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    struct policydb *db = NULL;
    struct policy_build *build = NULL;
    struct policy *policy = NULL;
    struct why why = {""};
    double at[5] = {now(), 0, 0, 0, 0};
    enum status status;

    if (argc != 2) {
        fprintf(stderr, "usage: weigh POLICY\n");
        return 2;
    }
    status = policydb_open(argv[1], 0, &db, &why);
    at[1] = now();
    if (status == STATUS_OK) {
        status = policydb_read(db, NULL, NULL, &build, &why);
    }
    at[2] = now();
    if (status == STATUS_OK) {
        status = policy_seal(build, (int64_t)time(NULL) * 1000, &policy, &why);
    }
    at[3] = now();
    if (status == STATUS_OK) {
        status = proof_run(policy, NULL, NULL, NULL, &why);
    }
    at[4] = now();
    if (status != STATUS_OK) {
        fprintf(stderr, "weigh: %s\n", why.text);
    } else {
        printf(
            "{\"sqlite\": \"%s\", \"copy\": %.4f, \"rows\": %.4f, \"seal\": %.4f, \"proof\": %.4f, "
            "\"row_count\": %zu, \"bytes\": %zu}\n",
            sqlite3_libversion(), at[1] - at[0], at[2] - at[1], at[3] - at[2], at[4] - at[3],
            policy_row_count(policy), policy_size(policy));
    }
    policy_free(policy);
    policy_build_free(build);
    policydb_close(db);
    return status != STATUS_OK;
}
