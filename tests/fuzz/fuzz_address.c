/* Envelope addresses: one reading or none, and the same reading of what was read. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <arpa/inet.h>

#include "core/address.h"
#include "fuzz.h"

static const char special[] = " ()<>[]:;@\\,\"";

/* -- a second reading ----------------------------------------------------------------------- */

/* Is it UTF-8 without control characters? By code points, not by bytes. */
static bool clean_utf8(const unsigned char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        unsigned char c = text[i];
        size_t length = c < 0x80 ? 1 : c >> 5 == 6 ? 2 : c >> 4 == 14 ? 3 : c >> 3 == 30 ? 4 : 0;
        uint32_t code = length == 1 ? c : c & (0xffu >> (length + 1));
        if (length == 0 || i + length > size) {
            return false;
        }
        for (size_t n = 1; n < length; n++) {
            if (text[i + n] >> 6 != 2) {
                return false;
            }
            code = code << 6 | (text[i + n] & 0x3f);
        }
        if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ||
            code < 0x20 || (code >= 0x7f && code <= 0x9f)) {
            return false;
        }
        i += length;
    }
    return true;
}

static bool alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Labels of 1 to 63 of a-z 0-9 - _, no dash at an end; 255 together. */
static bool label_domain(const char *text, size_t size, bool folded)
{
    size_t length = 0;

    if (size == 0 || size > 255) {
        return false;
    }
    for (size_t i = 0; i <= size; i++) {
        if (i == size || text[i] == '.') {
            if (length < 1 || length > 63 || text[i - 1] == '-' || text[i - length] == '-') {
                return false;
            }
            length = 0;
        } else if (!alphanumeric(text[i]) && text[i] != '-' && text[i] != '_') {
            return false;
        } else if (folded && text[i] >= 'A' && text[i] <= 'Z') {
            return false;
        } else {
            length++;
        }
    }
    return true;
}

static bool canonical_literal(const char *text)
{
    char inner[64], library[INET6_ADDRSTRLEN];
    unsigned char byte[16];
    size_t size = strlen(text);

    if (size < 3 || size >= sizeof inner || text[0] != '[' || text[size - 1] != ']') {
        return false;
    }
    memcpy(inner, text + 1, size - 2);
    inner[size - 2] = '\0';
    if (strncmp(inner, "IPv6:", 5) == 0) {
        static const unsigned char zero[12];
        static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
        if (inet_pton(AF_INET6, inner + 5, byte) != 1 || memcmp(byte, mapped, 12) == 0) {
            return false;
        }
        return memcmp(byte, zero, 12) == 0
                   ? strchr(inner, '.') == NULL
                   : inet_ntop(AF_INET6, byte, library, sizeof library) != NULL &&
                         strcmp(library, inner + 5) == 0;
    }
    return inet_pton(AF_INET, inner, byte) == 1 &&
           inet_ntop(AF_INET, byte, library, sizeof library) != NULL && strcmp(library, inner) == 0;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* word@word of letters, digits and the signs that mean nothing else: -1 if it is not such a text,
 * else whether it must be taken. */
static int plain_mailbox(const char *text, size_t size)
{
    const char *at = memchr(text, '@', size);
    size_t local, domain;

    if (at == NULL || at == text || size > ADDRESS_PATH_MOST) {
        return -1;
    }
    local = (size_t)(at - text);
    domain = size - local - 1;
    for (size_t i = 0; i < size; i++) {
        if (i != local && !alphanumeric(text[i]) &&
            (text[i] == '\0' || strchr("._-+=%!", text[i]) == NULL)) {
            return -1;
        }
        if (i > local && strchr("%!+=", text[i]) != NULL) {
            return 0;
        }
    }
    domain -= domain > 0 && text[size - 1] == '.';
    return label_domain(at + 1, domain, false);
}

/* More than one @ outside quotes. */
static bool second_at(const char *text, size_t size)
{
    bool quoted = false;
    int count = 0;

    for (size_t i = 0; i < size; i++) {
        if (text[i] == '"') {
            quoted = !quoted;
        } else if (text[i] == '\\' && quoted) {
            i++;
        } else if (text[i] == '@' && !quoted) {
            count++;
        }
    }
    return count > 1;
}

/* -- what must hold ------------------------------------------------------------------------- */

/* The mailbox written as RFC 5321 writes it. Returns its size, 0 if it has no room. */
static size_t write_mailbox(const struct address *address, char *to, size_t room)
{
    bool quoted = address->local_size == 0;
    size_t used = 0;

    for (size_t i = 0; i < address->local_size; i++) {
        quoted = quoted || strchr(special, address->local[i]) != NULL;
    }
    if (quoted) {
        to[used++] = '"';
    }
    for (size_t i = 0; i < address->local_size && used + 4 < room; i++) {
        if (quoted && (address->local[i] == '"' || address->local[i] == '\\')) {
            to[used++] = '\\';
        }
        to[used++] = address->local[i];
    }
    if (quoted) {
        to[used++] = '"';
    }
    used += (size_t)snprintf(to + used, room - used, "%s%s", address->domain[0] != '\0' ? "@" : "",
                             address->domain);
    return used <= ADDRESS_PATH_MOST ? used : 0;
}

static void check_again(const struct address *address, const char *text, size_t size)
{
    struct address again;
    char *copy = exact_copy(text, size, false);

    address_parse(copy, size, &again);
    free(copy);
    MUST(again.kind == ADDRESS_MAILBOX);
    MUST(again.local_size == address->local_size);
    MUST(strcmp(again.local, address->local) == 0 && strcmp(again.fold, address->fold) == 0);
    MUST(strcmp(again.domain, address->domain) == 0 && again.literal == address->literal);
    MUST(again.routed == (strpbrk(address->local, "%!@") != NULL));
}

static void check_mailbox(const char *path, size_t size, const struct address *address)
{
    char written[2 * ADDRESS_PATH_MOST + ADDRESS_DOMAIN_ROOM + 8], domain[ADDRESS_DOMAIN_ROOM];
    char fold[ADDRESS_PATH_MOST + 1];

    MUST(address->local_size == strlen(address->local) && address->local_size <= ADDRESS_PATH_MOST);
    MUST(clean_utf8((const unsigned char *)address->local, address->local_size));
    for (size_t i = 0; i <= address->local_size; i++) {
        MUST(address->fold[i] == lower(address->local[i]));
    }
    ascii_fold(address->local, fold, sizeof fold);
    MUST(strcmp(fold, address->fold) == 0);
    MUST(address->local_size > 0 || address->domain[0] != '\0');
    MUST(address->literal == (address->domain[0] == '['));
    if (address->literal) {
        MUST(canonical_literal(address->domain));
        MUST(!domain_fold(address->domain, strlen(address->domain), domain));
    } else if (address->domain[0] != '\0') {
        MUST(label_domain(address->domain, strlen(address->domain), true));
        MUST(domain_fold(address->domain, strlen(address->domain), domain));
        MUST(strcmp(domain, address->domain) == 0);
    }
    MUST(address->routed == (path[0] == '@' || strpbrk(address->local, "%!@") != NULL));
    /* nothing gets lost: without quotes and routes the local part is the path's beginning */
    if (path[0] != '"' && path[0] != '@') {
        MUST(size >= address->local_size && memcmp(path, address->local, address->local_size) == 0);
    }
    const char *bare = address_without_batv(address->fold);
    MUST(bare >= address->fold && bare <= address->fold + address->local_size);
    MUST(bare == address->fold || bare[0] != '\0');
    size_t used = write_mailbox(address, written + 1, sizeof written - 2);
    if (used > 0) {
        check_again(address, written + 1, used);
        written[0] = '<';
        written[used + 1] = '>';
        check_again(address, written, used + 2);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = exact_copy(data, size, false), domain[ADDRESS_DOMAIN_ROOM];
    bool clean = clean_utf8(data, size);
    bool brackets = size >= 2 && text[0] == '<' && text[size - 1] == '>';
    const char *path = brackets ? text + 1 : text;
    size_t path_size = brackets ? size - 2 : size;
    struct address address;
    int plain;

    address_parse(text, size, &address);
    switch (address.kind) {
    case ADDRESS_MAILBOX:
        MUST(clean && path_size > 0 && path_size <= ADDRESS_PATH_MOST && !address.out_of_memory);
        check_mailbox(path, path_size, &address);
        break;
    case ADDRESS_NULL:
        MUST(path_size == 0 && !address.routed && !address.literal && address.local_size == 0 &&
             address.local[0] == '\0' && address.fold[0] == '\0' && address.domain[0] == '\0');
        break;
    case ADDRESS_MALFORMED:
        MUST(path_size > 0 && !address.literal && address.local_size == 0 &&
             address.local[0] == '\0' && address.fold[0] == '\0' && address.domain[0] == '\0');
        MUST(address.routed || !second_at(text, size));
        MUST(!address.routed || memchr(text, '@', size) != NULL ||
             memchr(text, '%', size) != NULL || memchr(text, '!', size) != NULL);
        break;
    default:
        MUST(false);
    }
    plain = plain_mailbox(path, path_size);
    MUST(plain < 0 || (address.kind == ADDRESS_MAILBOX) == (plain != 0));
    if (plain > 0) {
        MUST(address.local_size == (size_t)((const char *)memchr(path, '@', path_size) - path));
    }
    if (domain_fold(text, size, domain)) {
        MUST(clean && label_domain(domain, strlen(domain), true));
    } else {
        MUST(domain[0] == '\0');
    }
    free(text);
    return 0;
}
