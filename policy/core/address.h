/* One envelope address: parse, take apart, compare (RFC 5321 4.1.2, RFC 6531 3.3). */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_ADDRESS_H
#define SEKISHO_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

enum {
    ADDRESS_PATH_MOST = 320,   /* octets of a path between its brackets; longer is malformed */
    ADDRESS_DOMAIN_ROOM = 264, /* an A-label domain or a canonical literal, with NUL */
    ADDRESS_FORM_ROOM = ADDRESS_PATH_MOST + ADDRESS_DOMAIN_ROOM + 2, /* fold@domain, with NUL */
};

enum address_kind {
    ADDRESS_MAILBOX,  /* local and domain are set; domain is "" for a bare local part */
    ADDRESS_NULL,     /* <> or nothing: the null sender */
    ADDRESS_MALFORMED /* no one reading: nothing else in the struct may be believed */
};

/* A taken-apart address: a plain value of about 900 bytes, no heap. */
struct address {
    enum address_kind kind;
    bool routed;        /* a source route, or % ! @ in the local part, or a second bare @ (then kind
                           is ADDRESS_MALFORMED): somebody else might read another destination */
    bool literal;       /* the domain is an address literal, canonical: [192.0.2.1],
                           [IPv6:2001:db8::1]; IPv4-mapped as IPv4 */
    bool out_of_memory; /* kind is ADDRESS_MALFORMED only because libidn2 had no memory */
    size_t local_size;
    char local[ADDRESS_PATH_MOST + 1]; /* quotes, quoted pairs removed, case kept; no NUL inside */
    char fold[ADDRESS_PATH_MOST + 1];  /* local in ASCII lower case: the name to compare */
    char domain[ADDRESS_DOMAIN_ROOM];  /* ASCII lower case, A-labels, one trailing dot removed */
};

/* Takes apart what the MTA handed over at MAIL or RCPT: <path> or path, size bytes (a NUL inside is
 * malformed). Liberal where one reading remains (dots anywhere in a local part, long local parts,
 * underscores in a domain), strict otherwise: control characters, text that is not UTF-8, empty
 * labels, labels over 63 octets or that begin or end with a dash, unquoted specials, unbalanced
 * brackets or quotes. Never fails: bad text is an answer. */
void address_parse(const char *text, size_t size, struct address *address);

/* Brings a domain or a host name (from a table, HELO, a macro) to the form addresses carry: ASCII
 * lower case, A-labels, one trailing dot removed. An address literal is not a domain. Returns false
 * if it is none (to is "" then). Where it was memory that lacked, errno is
 * ENOMEM. */
bool domain_fold(const char *text, size_t size, char to[ADDRESS_DOMAIN_ROOM]);

/* The local part without its BATV tag (prvs=tag=local): a pointer into fold. */
const char *address_without_batv(const char *fold);

/* ASCII lower case of text into to[room]; cut to fit, always ended. */
void ascii_fold(const char *text, char *to, size_t room);

#endif
