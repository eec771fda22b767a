/* xtext (RFC 3461 4): how Sendmail hands over a login, read back into what was said. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_XTEXT_H
#define SEKISHO_XTEXT_H

#include <stddef.h>

/* Reads text ("taro+2Btag") into to ("taro+tag"), of which what is beyond room is left out. Returns
 * the size in octets, no NUL is added. What is no xtext (a + without two digits 0-9 A-F), or has a
 * NUL in it, is copied as it stands: a login must not be cut short into another one. */
size_t xtext_read(const char *text, size_t size, char *to, size_t room);

#endif
