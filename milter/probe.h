/* Asks our own two doors, over their sockets as an MTA does, whether they answer. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_PROBE_H
#define SEKISHO_PROBE_H

#include <stdint.h>

#include "core/status.h"
#include "listen.h"

/* What is asked leaves no trace: callbacks_probes knows the milter's client by its name, and the
 * permit door is asked about no recipient. */
struct probe {
    struct listen_spec milter, permit;
    char name[64]; /* the client's name; nobody else can know it */
    int wake;      /* readable: give up at once */
};

/* One milter session: negotiation, connect, MAIL, one recipient, QUIT. until is steady time in ms.
 * STATUS_BROKEN says what was missing. */
enum status probe_milter(const struct probe *probe, int64_t until, struct why *why);
/* One question of Postfix policy delegation. */
enum status probe_permit(const struct probe *probe, int64_t until, struct why *why);

#endif
