/* IP addresses and ranges of them, from the text an administrator or an MTA writes. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_RANGE_H
#define SEKISHO_RANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

/* An address in network byte order; IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2). */
struct ip {
    unsigned char byte[16];
};

/* All addresses from first to last, both included; the family is that of first (an IPv6 block like
 * ::/80 ends where the IPv4-mapped addresses end). */
struct range {
    struct ip first, last;
};

enum { RANGE_TEXT = 96, IP_TEXT = 46 }; /* room for the longest texts, with NUL */

/* Reads a table's text: an address, a block address/length, or first-last. Strict: no white
 * space, no leading zero, no netmask, no zone, hex digits in either case; host bits under a
 * length are refused with the corrected block in the sentence. size bytes are read, so a NUL in
 * the text is seen and refused. IPv4-mapped IPv6 text is taken as IPv4 (a block only from /96 on).
 * Returns STATUS_OK or STATUS_BAD (why says what is wrong, beginning with the text), or
 * STATUS_BROKEN when memory runs out. */
enum status range_parse(const char *text, size_t size, struct range *range, struct why *why);

/* Writes the range as an address, a block where it is one, or first-last; RFC 5952 for IPv6. */
void range_text(const struct range *range, char text[RANGE_TEXT]);

/* Reads a client address as an MTA writes it: 192.0.2.1, 2001:db8::1, IPv6:2001:db8::1,
 * ::ffff:192.0.2.1, fe80::1%eth0, each also in [ ]. Returns false for anything else ("unknown"). */
bool ip_parse(const char *text, struct ip *ip);

/* Writes the address: dotted for IPv4, RFC 5952 for IPv6. */
void ip_text(const struct ip *ip, char text[IP_TEXT]);

bool ip_is_ipv4(const struct ip *ip);
bool ip_is_loopback(const struct ip *ip); /* 127.0.0.0/8 or ::1 */
struct ip ip_from_ipv4(const unsigned char byte[4]);
struct ip ip_from_ipv6(const unsigned char byte[16]);

/* An IPv4 address as a number in host order. */
uint32_t ip_ipv4_number(const struct ip *ip);

/* <0, 0, >0 as memcmp. */
int ip_compare(const struct ip *a, const struct ip *b);
bool range_holds(const struct range *range, const struct ip *ip);

/* The number of addresses less one, as a 128-bit big-endian number: compare with ip_compare. */
struct ip range_width(const struct range *range);

/* How many publicly routed addresses the ranges hold together, each counted once: IPv4 addresses,
 * and IPv6 networks of /48 (begun ones count whole). Private, shared, loopback, link-local and
 * unique-local space (RFC 1918, 6598, 3927, 4193, 4291) is not counted. The array is sorted in
 * place. */
void ranges_count_public(struct range *ranges, size_t count, uint64_t *ipv4, uint64_t *ipv6_48);

#endif
