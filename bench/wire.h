/* The MTA's side of the milter protocol: packets out, answers in, one blocking connection. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_BENCH_WIRE_H
#define SEKISHO_BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_stage { AT_CONNECT, AT_HELO, AT_MAIL, AT_RCPT, AT_DATA, AT_EOM, STAGES };

/* Steps a filter may decline (SMFIP_*), by their bits on the wire. */
enum {
    STEP_NO_BODY = 0x10,
    STEP_NO_HEADERS = 0x20,
    STEP_NO_EOH = 0x40,
    STEP_SILENT_HEADER = 0x80,
    STEP_NO_DATA = 0x200,
    STEP_SILENT_CONNECT = 0x1000,
    STEP_SILENT_HELO = 0x2000,
    STEP_SILENT_MAIL = 0x4000,
    STEP_SILENT_RCPT = 0x8000,
    STEP_SILENT_DATA = 0x10000,
    STEP_SILENT_EOH = 0x40000,
    STEP_SILENT_BODY = 0x80000,
};

struct wire_macro {
    const char *name, *value;
};

struct wire {
    int file;                /* -1 = closed */
    uint32_t steps;          /* negotiated */
    bool broken;             /* closed, timed out or answered nonsense */
    bool listed[STAGES];     /* the filter named the macros it wants at this stage ... */
    char asked[STAGES][160]; /* ... and these are they, between spaces */
    size_t size;
    unsigned char out[8192];
};

/* Connects; false when that fails. */
bool wire_open(struct wire *wire, const char *path);
void wire_close(struct wire *wire);

/* Adds a packet to what will be sent. */
void wire_put(struct wire *wire, char command, const void *body, size_t size);
/* Adds a stage's macros, as Postfix sends them: what the filter asked for, or its default list. */
void wire_put_macros(struct wire *wire, enum wire_stage stage, const struct wire_macro *macros,
                     size_t count);
/* Sends all that was added in one write. */
void wire_send(struct wire *wire);
/* The next answer's letter; 0 when the connection is broken. */
char wire_answer(struct wire *wire);

/* Version, actions and steps as Postfix offers them; reads what the filter takes of it. */
bool wire_negotiate(struct wire *wire);

#endif
