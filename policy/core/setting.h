/* The settings there are: names, defaults and what each may be. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_SETTING_H
#define SEKISHO_SETTING_H

#include <stdbool.h>
#include <stdint.h>

enum setting {
    SETTING_MODE,
    SETTING_HELP_URL,
    SETTING_LOGIN_REALM,
    SETTING_LOGIN_DOMAIN,
    SETTING_RECIPIENT_DELIMITER,
    SETTING_CLIENT_PREFIX_IPV4,
    SETTING_CLIENT_PREFIX_IPV6,
    SETTING_CLIENT_HOST_MOST,
    SETTING_CLIENT_HOST_MOST_IPV6,
    SETTING_RETENTION,
    SETTING_LOGIN_WINDOW_SECONDS,
    SETTING_REPORT_ADDRESS,
    SETTING_RECIPIENTS_MOST,
    SETTING_RING_SIZE,
    SETTING_KEYS_MOST,
    SETTING_BLOCK_LONGEST,
    SETTING_GATEWAY_NAMES,
    SETTING_COUNT
};

/* One setting. */
struct setting_kind {
    const char *name;
    bool is_text;
    const char *text;            /* default of a text */
    int64_t number, least, most; /* default and bounds of a number */
};

/* Never NULL for a setting of the enum. */
const struct setting_kind *setting_kind(enum setting setting);

/* The setting of that name, or SETTING_COUNT. */
enum setting setting_named(const char *name);

#endif
