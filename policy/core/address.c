/* One envelope address: parse, take apart, compare (RFC 5321 4.1.2, RFC 6531 3.3). */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <idn2.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/status.h"

enum {
    LABEL_MOST = 63,
    DOMAIN_MOST = 255, /* RFC 5321 4.5.3.1.2 */
    LITERAL_MOST = 45
};

/* What a letter of a domain becomes when it is folded; 0: it cannot stand in one. */
static const char domain_letter[256] = {
    ['-'] = '-', ['_'] = '_', ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4',
    ['5'] = '5', ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9', ['a'] = 'a', ['b'] = 'b',
    ['c'] = 'c', ['d'] = 'd', ['e'] = 'e', ['f'] = 'f', ['g'] = 'g', ['h'] = 'h', ['i'] = 'i',
    ['j'] = 'j', ['k'] = 'k', ['l'] = 'l', ['m'] = 'm', ['n'] = 'n', ['o'] = 'o', ['p'] = 'p',
    ['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't', ['u'] = 'u', ['v'] = 'v', ['w'] = 'w',
    ['x'] = 'x', ['y'] = 'y', ['z'] = 'z', ['A'] = 'a', ['B'] = 'b', ['C'] = 'c', ['D'] = 'd',
    ['E'] = 'e', ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j', ['K'] = 'k',
    ['L'] = 'l', ['M'] = 'm', ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r',
    ['S'] = 's', ['T'] = 't', ['U'] = 'u', ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y',
    ['Z'] = 'z',
};

/* What ends a local part that is not quoted. */
static const bool is_special[256] = {
    ['\0'] = true, [' '] = true, ['('] = true,  [')'] = true, ['<'] = true,
    ['>'] = true,  ['['] = true, [']'] = true,  [':'] = true, [';'] = true,
    [','] = true,  ['"'] = true, ['\\'] = true, ['@'] = true,
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool is_ascii(char c)
{
    return (unsigned char)c < 0x80;
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

/* ASCII, and no control character. */
static bool is_plain(char c)
{
    return (unsigned char)c >= 0x20 && (unsigned char)c < 0x7f;
}

/* The length of the UTF-8 character at text (RFC 3629: shortest form, no surrogates); 0 if there
 * is none, or a C1 control. */
static size_t utf8_length(const char *text, size_t size)
{
    const unsigned char *byte = (const unsigned char *)text;
    unsigned char low = 0x80, high = 0xbf; /* bounds of the second byte */
    size_t length;

    if (byte[0] < 0x80) {
        return 1;
    }
    if (byte[0] >= 0xc2 && byte[0] <= 0xdf) {
        length = 2;
    } else if (byte[0] >= 0xe0 && byte[0] <= 0xef) {
        length = 3;
    } else if (byte[0] >= 0xf0 && byte[0] <= 0xf4) {
        length = 4;
    } else {
        return 0;
    }
    if (size < length) {
        return 0;
    }
    switch (byte[0]) {
    case 0xc2:
        low = 0xa0; /* U+0080 to U+009F are controls: some terminals obey them */
        break;
    case 0xe0:
        low = 0xa0;
        break;
    case 0xed:
        high = 0x9f;
        break;
    case 0xf0:
        low = 0x90;
        break;
    case 0xf4:
        high = 0x8f;
        break;
    default:
        break;
    }
    if (byte[1] < low || byte[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if (byte[i] < 0x80 || byte[i] > 0xbf) {
            return 0;
        }
    }
    return length;
}

/* UTF-8 without control characters. */
static bool is_clean(const char *text, size_t size)
{
    size_t at = 0;

    for (;;) {
        while (at < size && is_plain(text[at])) {
            at++;
        }
        if (at == size) {
            return true;
        }
        size_t length = utf8_length(text + at, size - at);
        if (length == 0 || is_control(text[at])) {
            return false;
        }
        at += length;
    }
}

/* ---- domains ---- */

/* A domain of ASCII labels. A trailing dot is not in RFC 5321, but has one meaning: removed. to is
 * worth nothing where there is none. */
static bool fold_labels(const char *text, size_t size, char to[ADDRESS_DOMAIN_ROOM])
{
    size_t at = 0;

    if (size > 0 && text[size - 1] == '.') {
        size--;
    }
    if (size < 1 || size > DOMAIN_MOST) {
        return false;
    }
    for (;;) {
        size_t start = at;

        while (at < size && (to[at] = domain_letter[(unsigned char)text[at]]) != 0) {
            at++;
        }
        if (at == start || at - start > LABEL_MOST || text[start] == '-' || text[at - 1] == '-') {
            return false;
        }
        if (at == size) {
            to[size] = '\0';
            return true;
        }
        if (text[at] != '.') {
            return false;
        }
        to[at++] = '.';
    }
}

/* STATUS_OK, STATUS_BAD, or STATUS_BROKEN when libidn2 has no memory. */
static enum status read_domain(const char *text, size_t size, char to[ADDRESS_DOMAIN_ROOM])
{
    char copy[ADDRESS_PATH_MOST + 1];
    uint8_t *found = NULL;
    bool ascii = true;
    enum status status = STATUS_BAD;
    int answer, kept = errno; /* it may say that memory ran out for another name */

    /* Nearly all are ASCII: what has no such reading is looked at again. */
    if (fold_labels(text, size, to)) {
        return STATUS_OK;
    }
    to[0] = '\0';
    if (size > ADDRESS_PATH_MOST) {
        return STATUS_BAD;
    }
    for (size_t i = 0; i < size; i++) {
        ascii = ascii && is_ascii(text[i]);
    }
    if (ascii || !is_clean(text, size)) {
        return STATUS_BAD;
    }
    memcpy(copy, text, size);
    copy[size] = '\0';
    errno = 0;
    answer = idn2_lookup_u8((const uint8_t *)copy, &found, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (answer != IDN2_OK) {
        /* Not each of its ways out of memory is called IDN2_MALLOC. */
        if (answer == IDN2_MALLOC || errno == ENOMEM) {
            status = STATUS_BROKEN;
        }
        goto out;
    }
    /* The mapping can bring forth dots, spaces and @ out of their wide forms: look again. */
    if (!fold_labels((const char *)found, strlen((const char *)found), to)) {
        to[0] = '\0';
        goto out;
    }
    status = STATUS_OK;
out:
    idn2_free(found);
    errno = status == STATUS_BROKEN ? ENOMEM : kept;
    return status;
}

bool domain_fold(const char *text, size_t size, char to[ADDRESS_DOMAIN_ROOM])
{
    return read_domain(text, size, to) == STATUS_OK;
}

static bool has_ipv6_tag(const char *text, size_t size)
{
    static const char tag[] = "ipv6:";

    if (size < sizeof tag - 1) {
        return false;
    }
    for (size_t i = 0; i < sizeof tag - 1; i++) {
        if (lower(text[i]) != tag[i]) {
            return false;
        }
    }
    return true;
}

/* An address literal (RFC 5321 4.1.3) with its brackets, out of a clean text; an IPv4-mapped
 * address is written as the IPv4 one, or one destination would have two names. */
static bool read_literal(const char *text, size_t size, char to[ADDRESS_DOMAIN_ROOM])
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    static const unsigned char zero[12] = {0};
    char copy[LITERAL_MOST + 1];
    char shown[INET6_ADDRSTRLEN];
    unsigned char byte[16];
    bool ipv6;

    if (size < 2 || text[0] != '[' || text[size - 1] != ']') {
        return false;
    }
    text++;
    size -= 2;
    ipv6 = has_ipv6_tag(text, size);
    if (ipv6) {
        text += 5;
        size -= 5;
    }
    if (size > LITERAL_MOST) {
        return false;
    }
    memcpy(copy, text, size);
    copy[size] = '\0';
    if (inet_pton(ipv6 ? AF_INET6 : AF_INET, copy, byte) != 1) {
        return false;
    }
    if (ipv6 && memcmp(byte, mapped, sizeof mapped) == 0) {
        memmove(byte, byte + sizeof mapped, 4);
        ipv6 = false;
    }
    if (inet_ntop(ipv6 ? AF_INET6 : AF_INET, byte, shown, sizeof shown) == NULL) {
        return false;
    }
    /* Some systems write ::c000:201 with dots, others do not. */
    if (ipv6 && memcmp(byte, zero, sizeof zero) == 0 && strchr(shown, '.') != NULL) {
        snprintf(shown, sizeof shown, "::%x:%x", (unsigned)byte[12] << 8 | byte[13],
                 (unsigned)byte[14] << 8 | byte[15]);
    }
    snprintf(to, ADDRESS_DOMAIN_ROOM, "[%s%s]", ipv6 ? "IPv6:" : "", shown);
    return true;
}

static enum status read_domain_or_literal(const char *text, size_t size, bool *literal,
                                          char to[ADDRESS_DOMAIN_ROOM])
{
    *literal = size > 0 && text[0] == '[';
    if (*literal) {
        return read_literal(text, size, to) ? STATUS_OK : STATUS_BAD;
    }
    return read_domain(text, size, to);
}

/* ---- local parts ---- */

/* Reads a local part from the start of a clean text of at most ADDRESS_PATH_MOST octets. Returns
 * the octets it takes, 0 if there is none. */
static size_t read_local(const char *text, size_t size, struct address *address)
{
    size_t at = 0, used = 0;

    if (size > 0 && text[0] == '"') {
        for (at = 1; at < size && text[at] != '"'; at++) {
            /* A quoted pair is ASCII (RFC 5321 4.1.2), also under RFC 6531. */
            if (text[at] == '\\' && (++at == size || !is_ascii(text[at]))) {
                return 0;
            }
            address->local[used++] = text[at];
        }
        if (at == size) {
            return 0;
        }
        at++;
    } else {
        while (at < size && !is_special[(unsigned char)text[at]]) {
            at++;
        }
        memcpy(address->local, text, at);
        used = at;
    }
    for (size_t i = 0; i < used; i++) {
        address->fold[i] = lower(address->local[i]);
    }
    address->local[used] = address->fold[used] = '\0';
    address->local_size = used;
    return at;
}

/* Reads a source route up to its colon (RFC 5321 4.1.2 A-d-l). */
static enum status read_route(const char *text, size_t size, size_t *used)
{
    char domain[ADDRESS_DOMAIN_ROOM];
    size_t at = 0;
    bool literal;

    while (at < size && text[at] == '@') {
        size_t start = ++at;
        enum status status;

        if (at < size && text[at] == '[') {
            while (at < size && text[at] != ']') {
                at++;
            }
        }
        while (at < size && text[at] != ',' && text[at] != ':') {
            at++;
        }
        if (at == size) {
            return STATUS_BAD;
        }
        status = read_domain_or_literal(text + start, at - start, &literal, domain);
        if (status != STATUS_OK) {
            return status;
        }
        if (text[at++] == ':') {
            *used = at;
            return STATUS_OK;
        }
    }
    return STATUS_BAD;
}

static enum status read_path(const char *text, size_t size, struct address *address)
{
    enum status status;
    size_t used = 0;

    if (size > ADDRESS_PATH_MOST || !is_clean(text, size)) {
        return STATUS_BAD;
    }
    if (size > 0 && text[0] == '@') {
        status = read_route(text, size, &used);
        if (status != STATUS_OK) {
            return status;
        }
        address->routed = true;
        text += used;
        size -= used;
    }
    used = read_local(text, size, address);
    if (used == 0) {
        return STATUS_BAD;
    }
    if (strpbrk(address->local, "%!@") != NULL) {
        address->routed = true;
    }
    if (used == size) {
        /* "" alone: a mailbox of no name to one reader, the null sender to another. */
        return address->local_size > 0 ? STATUS_OK : STATUS_BAD;
    }
    if (text[used] != '@') {
        return STATUS_BAD;
    }
    used++;
    return read_domain_or_literal(text + used, size - used, &address->literal, address->domain);
}

/* Whether a text of which there is no reading has more than one @ outside quotes. */
static bool has_second_at(const char *text, size_t size)
{
    bool quoted = false;
    int count = 0;

    for (size_t i = 0; i < size; i++) {
        if (quoted && text[i] == '\\') {
            i++;
        } else if (text[i] == '"') {
            quoted = !quoted;
        } else if (!quoted && text[i] == '@') {
            count++;
        }
    }
    return count > 1;
}

/* Nothing is known yet. What lies behind the ends of the texts is not wiped: nobody reads it. */
static void clear(struct address *address)
{
    address->kind = ADDRESS_MALFORMED;
    address->routed = address->literal = address->out_of_memory = false;
    address->local_size = 0;
    address->local[0] = address->fold[0] = address->domain[0] = '\0';
}

void address_parse(const char *text, size_t size, struct address *address)
{
    const char *path = text;
    size_t path_size = size;
    enum status status = STATUS_BAD;
    bool routed;

    clear(address);
    if (size > 0 && text[0] == '<') {
        if (size < 2 || text[size - 1] != '>') {
            goto out;
        }
        path++;
        path_size -= 2;
    }
    if (path_size == 0) {
        address->kind = ADDRESS_NULL;
        return;
    }
    status = read_path(path, path_size, address);
out:
    if (status == STATUS_OK) {
        address->kind = ADDRESS_MAILBOX;
        return;
    }
    /* Half a reading must not be taken for one. */
    routed = address->routed || has_second_at(text, size);
    clear(address);
    address->routed = routed;
    address->out_of_memory = status == STATUS_BROKEN;
}

/* ---- comparing ---- */

const char *address_without_batv(const char *fold)
{
    static const char tag[] = "prvs=";
    size_t at = sizeof tag - 1;

    if (strncmp(fold, tag, at) != 0) {
        return fold;
    }
    while ((fold[at] >= 'a' && fold[at] <= 'z') || (fold[at] >= '0' && fold[at] <= '9')) {
        at++;
    }
    if (at == sizeof tag - 1 || fold[at] != '=' || fold[at + 1] == '\0') {
        return fold;
    }
    return fold + at + 1;
}

void ascii_fold(const char *text, char *to, size_t room)
{
    size_t length = 0;

    if (room == 0) {
        return;
    }
    for (; text[length] != '\0' && length < room - 1; length++) {
        to[length] = lower(text[length]);
    }
    to[length] = '\0';
}
