/* The watchdog: tells the service manager that we serve, as long as our own doors answer us. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_WATCH_H
#define SEKISHO_WATCH_H

#include "core/status.h"
#include "listen.h"
#include "live/engine.h"
#include "notify.h"
#include "probe.h"

/* Sends READY=1 once both doors have answered, STATUS= whenever it has changed, and, if the manager
 * wants it, WATCHDOG=1 three times as often as it must come: each time only after milter and permit
 * door have answered again and while the keeper goes round. */
struct watch;

/* Starts the thread; *watch is NULL afterwards when no manager listens. Takes notify over. */
enum status watch_start(struct engine *engine, const struct probe *probe, struct notify *notify,
                        struct watch **watch, struct why *why);
/* Ends the thread and says STOPPING=1; NULL is allowed. The engine may be closed afterwards. */
void watch_stop(struct watch *watch);

/* A name for the probe's client that nobody can guess. */
enum status watch_name(struct probe *probe, struct why *why);

#endif
