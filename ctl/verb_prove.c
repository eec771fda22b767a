/* sekisho prove: the open-relay battery against a policy, printed session by session. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>

#include "core/proof.h"
#include "ctl.h"

struct telling {
    const struct ctl *ctl;
    const struct policy *policy;
    json_t *list;
    size_t open;
};

static void tell_case(void *context, const struct proof_case *tried)
{
    struct telling *telling = context;
    const char *reason = reason_row(tried->verdict.reason)->name;
    char sender[1400], recipient[2600], helo[1100], rule[RULE_TEXT];

    telling->open += !tried->held;
    if (telling->ctl->json) {
        json_array_append_new(
            telling->list,
            json_pack("{s:s, s:s, s:o, s:o, s:o, s:s, s:s, s:o, s:b}", "form", tried->form,
                      "client", tried->client, "helo", ctl_json_text(tried->helo), "from",
                      ctl_json_text(tried->sender), "to", ctl_json_text(tried->recipient), "action",
                      action_name(tried->verdict.action), "reason", reason, "row",
                      ctl_json_rule(telling->policy, tried->verdict.rule), "held", tried->held));
        return;
    }
    printf("%-4s  %-17s  %-15s  client %s helo %s from %s to %s", tried->held ? "held" : "OPEN",
           reason, tried->form, tried->client, ctl_plain(tried->helo, helo, sizeof helo),
           ctl_plain(tried->sender, sender, sizeof sender),
           ctl_plain(tried->recipient, recipient, sizeof recipient));
    if (!tried->held) {
        printf(", opened by %s", policy_rule_text(telling->policy, tried->verdict.rule, rule));
    }
    printf("\n");
}

int verb_prove(const struct ctl *ctl, int argc, char **argv)
{
    struct ctl_policy opened = {NULL, NULL};
    struct telling telling = {ctl, NULL, NULL, 0};
    struct why why = {""};
    size_t cases = 0;

    if (argc > 1) {
        return ctl_fail(ctl, CTL_USAGE, "%s: prove takes no arguments", argv[1]);
    }
    enum status status = ctl_policy_open(ctl->policy, ctl->now.wall, &opened, &why);
    if (status != STATUS_OK) {
        return ctl_fail(ctl, ctl_exit_of(status), "%s%s", why.text,
                        status == STATUS_BAD ? "; there is nothing to prove (sekisho check)" : "");
    }
    telling.policy = opened.policy;
    telling.list = ctl->json ? json_array() : NULL;
    status = proof_run(opened.policy, tell_case, &telling, &cases, &why);
    if (ctl->json) {
        ctl_print(json_pack("{s:b, s:o, s:I, s:I, s:s?, s:o}", "ok", status == STATUS_OK, "policy",
                            ctl_json_text(ctl->policy), "cases", (json_int_t)cases, "open",
                            (json_int_t)telling.open, "fault",
                            status == STATUS_OK ? NULL : why.text, "battery", telling.list));
    } else if (status == STATUS_OK) {
        printf("%s: held, %zu forged sessions of strangers were refused\n", ctl->policy, cases);
    } else {
        printf("%s: NOT HELD, %zu of %zu forged sessions got through; %s\n", ctl->policy,
               telling.open, cases, why.text);
    }
    ctl_policy_close(&opened);
    return status == STATUS_OK ? CTL_YES : CTL_NO;
}
