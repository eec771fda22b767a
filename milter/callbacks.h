/* libmilter's callbacks, translated for session, engine and log; nothing is decided here. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_CALLBACKS_H
#define SEKISHO_CALLBACKS_H

#include "core/status.h"
#include "listen.h"
#include "live/engine.h"

/* Registers with libmilter; socket as libmilter takes it. The engine must outlive callbacks_run. */
enum status callbacks_register(struct engine *engine, const char *socket, int backlog,
                               struct why *why);

/* Serves until smfi_stop(). Call it in a thread of its own (3-facts.md 3.2: libmilter ends at
 * SIGHUP otherwise). Returns STATUS_OK when it was asked to stop. */
enum status callbacks_run(void);

/* Sessions whose client has this name (of at most PROBE_NAME - 1 octets) are the watchdog's own:
 * every recipient gets 4xx after a judgement that is neither counted nor recorded. Before
 * callbacks_run. */
enum { PROBE_NAME = 64 };
void callbacks_probes(const char *name);

/* Takes no more connections and lets the sessions that are under way come to their end, for so long
 * at the most. Before callbacks_stop. */
void callbacks_finish(int64_t milliseconds);

/* Takes the engine away from the callbacks and waits for those that use it. False when one still
 * does: then the engine must not be closed. */
bool callbacks_drain(int64_t milliseconds);

/* Asks callbacks_run, which listens at spec, to return; any thread. */
void callbacks_stop(const struct listen_spec *spec);

#endif
