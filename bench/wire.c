/* The MTA's side of the milter protocol: packets out, answers in, one blocking connection. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "wire.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { VERSION = 6, ACTIONS = 0x1ff, STEPS = 0x1fffff, PATIENCE = 20, ANSWER_MOST = 4096 };

static const char stage_letter[STAGES] = {'C', 'H', 'M', 'R', 'T', 'E'};

/* Postfix's milter_*_macros. */
static const char *const usual[STAGES] = {
    " j {daemon_name} {daemon_addr} v ",
    " {tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer} ",
    " i {auth_type} {auth_authen} {auth_author} {mail_addr} {mail_host} {mail_mailer} ",
    " i {rcpt_addr} {rcpt_host} {rcpt_mailer} ",
    " i ",
    " i ",
};

bool wire_open(struct wire *wire, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {PATIENCE, 0};

    wire->size = 0;
    wire->broken = true;
    wire->file = -1;
    if (strlen(path) >= sizeof address.sun_path) {
        return false;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    wire->file = socket(AF_UNIX, SOCK_STREAM, 0);
    if (wire->file < 0) {
        return false;
    }
    setsockopt(wire->file, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(wire->file, (const struct sockaddr *)&address, sizeof address) != 0) {
        return false;
    }
    wire->broken = false;
    return true;
}

void wire_close(struct wire *wire)
{
    if (wire->file >= 0) {
        close(wire->file);
    }
    wire->file = -1;
}

static void put_number(unsigned char to[4], uint32_t number)
{
    to[0] = (unsigned char)(number >> 24);
    to[1] = (unsigned char)(number >> 16);
    to[2] = (unsigned char)(number >> 8);
    to[3] = (unsigned char)number;
}

static uint32_t get_number(const unsigned char from[4])
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

void wire_put(struct wire *wire, char command, const void *body, size_t size)
{
    if (wire->size + size + 5 > sizeof wire->out) {
        wire->broken = true;
        return;
    }
    put_number(wire->out + wire->size, (uint32_t)size + 1);
    wire->out[wire->size + 4] = (unsigned char)command;
    if (size > 0) {
        memcpy(wire->out + wire->size + 5, body, size);
    }
    wire->size += size + 5;
}

void wire_put_macros(struct wire *wire, enum wire_stage stage, const struct wire_macro *macros,
                     size_t count)
{
    const char *wanted = wire->listed[stage] ? wire->asked[stage] : usual[stage];
    char body[1024];
    size_t used = 1;

    body[0] = stage_letter[stage];
    for (size_t i = 0; i < count; i++) {
        size_t name = strlen(macros[i].name), value = strlen(macros[i].value);
        const char *at = wanted;
        while ((at = strstr(at, macros[i].name)) != NULL && (at[-1] != ' ' || at[name] != ' ')) {
            at++;
        }
        if (at != NULL && used + name + value + 2 <= sizeof body) {
            memcpy(body + used, macros[i].name, name + 1);
            memcpy(body + used + name + 1, macros[i].value, value + 1);
            used += name + value + 2;
        }
    }
    if (used > 1) {
        wire_put(wire, 'D', body, used);
    }
}

void wire_send(struct wire *wire)
{
    for (size_t sent = 0; !wire->broken && sent < wire->size;) {
        ssize_t wrote = send(wire->file, wire->out + sent, wire->size - sent, MSG_NOSIGNAL);
        wire->broken = wrote <= 0;
        sent += wrote > 0 ? (size_t)wrote : 0;
    }
    wire->size = 0;
}

static void read_all(struct wire *wire, unsigned char *to, size_t size)
{
    while (!wire->broken && size > 0) {
        ssize_t got = recv(wire->file, to, size, 0);
        wire->broken = got <= 0;
        if (got > 0) {
            to += got;
            size -= (size_t)got;
        }
    }
}

/* One answer: its letter, its body (a NUL is put behind) and the body's size. */
static char read_packet(struct wire *wire, unsigned char body[ANSWER_MOST + 1], size_t *size)
{
    unsigned char head[5] = {0, 0, 0, 0, 0};

    *size = 0;
    read_all(wire, head, sizeof head);
    uint32_t length = get_number(head);
    if (wire->broken || length == 0 || length > ANSWER_MOST) {
        wire->broken = true;
        return 0;
    }
    read_all(wire, body, length - 1);
    if (wire->broken) {
        return 0;
    }
    *size = length - 1;
    body[*size] = '\0';
    return (char)head[4];
}

char wire_answer(struct wire *wire)
{
    unsigned char body[ANSWER_MOST + 1];
    size_t size;

    return read_packet(wire, body, &size);
}

bool wire_negotiate(struct wire *wire)
{
    unsigned char offer[12], body[ANSWER_MOST + 1];
    size_t size;

    put_number(offer, VERSION);
    put_number(offer + 4, ACTIONS);
    put_number(offer + 8, STEPS);
    wire_put(wire, 'O', offer, sizeof offer);
    wire_send(wire);
    if (read_packet(wire, body, &size) != 'O' || size < 12) {
        wire->broken = true;
        return false;
    }
    wire->steps = get_number(body + 8);
    memset(wire->listed, 0, sizeof wire->listed);
    for (size_t at = 12; at + 4 < size;) {
        uint32_t stage = get_number(body + at);
        const char *names = (const char *)body + at + 4;
        size_t length = strlen(names);
        if (stage < STAGES && length + 3 <= sizeof wire->asked[0]) {
            wire->listed[stage] = true;
            wire->asked[stage][0] = ' ';
            memcpy(wire->asked[stage] + 1, names, length);
            memcpy(wire->asked[stage] + 1 + length, " ", 2);
        }
        at += 4 + length + 1;
    }
    return true;
}
