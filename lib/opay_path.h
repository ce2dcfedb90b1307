
/*
 * opay_path: route templates, percent-encoding, query arguments.
 * Pure functions; what they return points into their inputs or the arena.
 */

#ifndef OPAY_PATH_H_INCLUDED
#define OPAY_PATH_H_INCLUDED

#include "opay_base.h"


/*
 * Matches a decoded path against a template, "/api/orders/{id}".  A `{name}`
 * segment takes any one segment that is not empty, "." or ".."; values[i] is
 * the i-th of them and points into path.  Strict: "//", a trailing slash, dot
 * segments and NUL match nothing.  The only path ending in "/" is "/".
 *
 * OPAY_OK, or OPAY_ERROR: no match, or more than n parameters.
 */
int opay_path_match(opay_str_t tmpl, opay_str_t path, opay_str_t *values,
    size_t n);

/*
 * Of two templates that match one path: does a win over b?  At the first
 * segment where they differ in kind, a literal wins over a parameter.
 */
int opay_path_more_specific(opay_str_t a, opay_str_t b);

/*
 * Percent-decodes src into the arena; plus: "+" means a space.  OPAY_ERROR:
 * a "%" without two hex digits, a decoded NUL, invalid UTF-8, no memory.
 */
int opay_path_decode(opay_arena_t *a, opay_str_t src, int plus,
    opay_str_t *dst);

/*
 * The first value of a query argument, decoded; names are compared decoded
 * byte for byte.  OPAY_OK with data NULL: absent.  OPAY_ERROR: it is there
 * and opay_path_decode() refuses it.
 */
int opay_query_arg(opay_arena_t *a, opay_str_t query, const char *name,
    opay_str_t *value);


#endif /* OPAY_PATH_H_INCLUDED */
