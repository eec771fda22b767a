/* Whose a name is: the domain that its organisation has registered. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_ORGANISATION_H
#define SEKISHO_ORGANISATION_H

#include <stddef.h>

#include "core/address.h"

/* Of a folded domain (domain_fold) the part that somebody registered: pc5.far.example ->
 * far.example, a.b.co.jp -> b.co.jp; the whole where there is none (pc5, co.jp, 192.0.2.1). A
 * pointer into domain. */
const char *organisation_of(const char *domain);

/* The same of what a client said in HELO: brackets taken off, folded. Writes "" when it said
 * nothing. What is no name is taken as it is. */
void organisation_of_helo(const char *helo, size_t size, char to[ADDRESS_DOMAIN_ROOM]);

#endif
