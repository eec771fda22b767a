/* The settings there are: names, defaults and what each may be. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/setting.h"

#include <string.h>

static const struct setting_kind setting_kinds[SETTING_COUNT] = {
    [SETTING_MODE] = {"mode", true, "enforce", 0, 0, 0},
    [SETTING_HELP_URL] = {"help_url", true, "", 0, 0, 0},
    [SETTING_LOGIN_REALM] = {"login_realm", true, "", 0, 0, 0},
    [SETTING_LOGIN_DOMAIN] = {"login_domain", true, "", 0, 0, 0},
    [SETTING_RECIPIENT_DELIMITER] = {"recipient_delimiter", true, "+", 0, 0, 0},
    [SETTING_CLIENT_PREFIX_IPV4] = {"client_prefix_ipv4", false, "", 32, 8, 32},
    [SETTING_CLIENT_PREFIX_IPV6] = {"client_prefix_ipv6", false, "", 64, 16, 128},
    [SETTING_CLIENT_HOST_MOST] = {"client_host_most", false, "", 65536, 0, 4294967296},
    [SETTING_CLIENT_HOST_MOST_IPV6] = {"client_host_most_ipv6", false, "", 1, 0, 65536},
    [SETTING_RETENTION] = {"retention", false, "", 30, 1, 3650},
    [SETTING_LOGIN_WINDOW_SECONDS] = {"login_window_seconds", false, "", 0, 0, 3600},
    [SETTING_REPORT_ADDRESS] = {"report_address", true, "", 0, 0, 0},
    [SETTING_RECIPIENTS_MOST] = {"recipients_most", false, "", 1000, 1, 100000},
    [SETTING_RING_SIZE] = {"ring_size", false, "", 100000, 1000, 100000000},
    [SETTING_KEYS_MOST] = {"keys_most", false, "", 1000000, 1000, 100000000},
    [SETTING_BLOCK_LONGEST] = {"block_longest", false, "", 604800, 60, 31536000},
    [SETTING_GATEWAY_NAMES] = {"gateway_names", false, "", 20, 1, 60},
};

const struct setting_kind *setting_kind(enum setting setting)
{
    return &setting_kinds[setting];
}

enum setting setting_named(const char *name)
{
    unsigned i = 0;

    while (i < SETTING_COUNT && strcmp(setting_kinds[i].name, name) != 0) {
        i++;
    }
    return (enum setting)i;
}
